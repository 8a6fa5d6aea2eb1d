package merchants

// For the tests of this package.
const (
	LookupsMax    = lookupsMax
	LookupsAtOnce = lookupsAtOnce
)

// NewToken makes a well-formed key that no merchant has.
var NewToken = newToken
