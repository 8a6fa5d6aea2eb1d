package torture

import "testing"

func TestServeWithoutADatabaseSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	refused(t, nil, "DATABASE_URL", "never falls back")
}

func TestEveryProblemOfAConfigurationIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	refused(t, []string{
		"REQUEST_TIMEOUT=soon", "COMMIT_WORKERS=0", "IDEMPOTENCY_RETENTION=1ms", "LOG_LEVEL=loud",
		"READ_CONNECTIONS=many",
		"RATE_LIMIT_PER_SECOND=0", "RATE_LIMIT_BURST=x",
	},
		"DATABASE_URL", `REQUEST_TIMEOUT: "soon"`, `COMMIT_WORKERS: "0"`,
		`IDEMPOTENCY_RETENTION: "1ms"`, `LOG_LEVEL: "loud"`,
		`READ_CONNECTIONS: "many"`, `RATE_LIMIT_PER_SECOND: "0"`, `RATE_LIMIT_BURST: "x"`)
	refused(t, []string{"RATE_LIMIT_BURST=5"},
		`RATE_LIMIT_BURST: "5" means nothing without RATE_LIMIT_PER_SECOND`)
}
