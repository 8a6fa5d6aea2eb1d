// Package console is the page at /console: accounts, payments and live events for people,
// and charges that happen exactly once from a browser.
//
// The page is an ordinary caller of the API. A person types in an API key. A broken
// connection can lose an answer, and a reload can lose the page. So the page does what
// every caller must do (assets/intent.js):
//
//   - It makes the key with the form, before it sends anything. It keeps the key and the
//     request in the tab's session storage.
//   - After a lost answer, or one that asks for a retry, it sends the same request under
//     the same key. Waits grow, with full jitter. It retries nothing else by itself.
//   - While the outcome is unknown, the form stays as it was sent. After a reload the
//     request is listed as unfinished, with a button to send it again. It is forgotten
//     after its outcome was shown.
//   - It makes a new key only for a new intent.
//
// The tab also keeps the API key, because a retry after a reload needs it. All texts are
// shown as text, never as markup. The page's Content-Security-Policy allows no scripts
// but these files, and makes the browser refuse to parse a text as markup (Trusted
// Types).
//
// The files are plain ES modules. There is no build step, and the page loads nothing from
// other hosts.
package console

import "embed"

// Files are console.html and its assets. The page is a template for a list of
// currencies. It uses the documentation's template "navigation" and its stylesheet
// /docs/assets/docs.css.
//
//go:embed console.html assets
var Files embed.FS
