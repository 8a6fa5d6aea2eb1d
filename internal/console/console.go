// Package console is the page at /console: accounts and payments for people, and
// exactly once in a browser.
//
// It is a caller like any other. It sends what the contract describes to the service
// that it came from, with an API key that is typed in, and has no way in of its own.
// What a browser can lose is what every caller can lose: the answer, by a broken line,
// and itself, by a reload. So it does what every caller has to do (assets/intent.js):
//
//   - The key is made with the form, before anything is sent, and the request is kept beside it in the tab's session storage.
//   - A lost answer, or one that asks for it, is followed by the same request under the same key, after a wait that grows, with
//     full jitter. Nothing else is sent again by itself.
//   - While the outcome is unknown the form stays as it was sent. After a reload the request is listed as unfinished, with a button that
//     sends it again. It is forgotten when somebody has been shown what it came to.
//   - A new key is made only for a new intent.
//
// The API key is kept likewise, until the tab is closed: a reload must not lose what it
// takes to find out. Whatever was typed somewhere, by whomever, is shown as text and by
// no other means. The page's Content-Security-Policy runs no script but these files,
// and has the browser refuse to make markup of a text at all (Trusted Types).
//
// The files are plain ES modules. Nothing is built, and nothing is loaded from
// elsewhere.
package console

import "embed"

// Files are console.html and its assets. The page is a template: it is given the
// currencies, and expects a template "navigation" and the stylesheet
// /docs/assets/docs.css, which are those of the documentation.
//
//go:embed console.html assets
var Files embed.FS
