// The page: its API key and its views.

import { accountView, accountsView, offerAccounts } from "./accounts.js";
import { chargeView } from "./charge.js";
import { button, element, field, focusOn, heading, link, submitButton } from "./dom.js";
import { eventsView } from "./events.js";
import { useAPIKey } from "./exchange.js";
import { end, unfinished } from "./intent.js";
import { unfinishedList, updateUnfinished } from "./intent_form.js";
import { paymentView, paymentsView } from "./payments.js";
import { goTo } from "./place.js";
import { failureNode } from "./problem.js";
import { webhooksView, webhookView } from "./webhooks.js";

// In the session storage, which survives a reload and ends with the tab.
const keyName = "paymentsvc.api_key";

const page = document.getElementById("console");
let unfinishedShown; // the list of unfinished intents

const views = [ // with the text of their link in the menu
  ["charge", chargeView, "Charge"],
  ["payments", paymentsView, "Payments"],
  ["payments/:id", paymentView],
  ["events", eventsView, "Events"],
  ["accounts", accountsView, "Accounts"],
  ["accounts/:id", accountView],
  ["webhooks", webhooksView, "Webhooks"],
  ["webhooks/:id", webhookView],
];

// viewOf makes the view of a hash such as "#/payments/pay_…?…".
function viewOf(hash) {
  const [path, query = ""] = hash.replace(/^#\//, "").split("?");
  const [name, id] = path.split("/");
  const [, view] = views.find(([pattern]) => pattern === (id ? name + "/:id" : name)) ?? views[0];
  return view(decodeURIComponent(id ?? ""), new URLSearchParams(query));
}

// nameOf is the name of a hash's place in the menu: "payments" of "#/payments/pay_…".
function nameOf(hash) {
  const [name] = hash.replace(/^#\//, "").split(/[/?]/);
  return views.some(([each]) => each === name) ? name : views[0][0];
}

let asked = 0; // counts, so that a late view does not replace a newer one

async function show() {
  const number = ++asked;
  let view;
  try {
    view = await viewOf(location.hash);
  } catch (failure) {
    view = element("section", {}, heading("This cannot be shown"), failureNode(failure),
      button("Try again", start));
  }
  if (number === asked) {
    unfinishedShown = unfinishedList();
    page.replaceChildren(menu(), unfinishedShown, view);
    const title = view.querySelector("h1");
    document.title = `paymentsvc: ${title.textContent}`;
    title.focus();
  }
}

// menu has a link to each list. The current one is marked, also on the page of one of its things.
function menu() {
  const links = views.filter(([, , text]) => text).map(([name, , text]) => {
    const shown = link("#/" + name, text);
    if (nameOf(location.hash) === name) {
      shown.setAttribute("aria-current", "page");
    }
    return shown;
  });
  return element("nav", { className: "menu", "aria-label": "Console" },
    links, button("Forget the API key", signOut));
}

// signIn is a form for the API key. It accepts a key that the service accepts.
function signIn() {
  const inputs = element("fieldset", {},
    field("API key", {
      name: "api_key", type: "password", required: true, placeholder: "sk_…",
      pattern: "\\s*sk_[0-9a-z]+\\s*", title: "It begins with sk_",
    }),
    submitButton("Open"));
  const report = element("div", { "aria-live": "polite" });
  async function enter(event) {
    event.preventDefault();
    const key = new FormData(event.target).get("api_key").trim();
    focusOn(report); // a disabled button loses the focus
    inputs.disabled = true;
    useAPIKey(key);
    try {
      await offerAccounts();
      sessionStorage.setItem(keyName, key);
      start();
    } catch (failure) {
      report.replaceChildren(failureNode(failure));
    } finally {
      inputs.disabled = false;
    }
  }
  return element("form", { onsubmit: enter },
    heading("The console"),
    element("p", {}, "Charges, accounts and payments of one merchant, through the API that " +
      "programs call. This tab keeps the key until it is closed."),
    inputs, report);
}

// signOut forgets the API key and the unfinished intents. With another merchant's API key they
// would be other intents.
function signOut() {
  const question = "There are unfinished requests. Without them, this tab cannot find out their " +
    "outcomes. Forget them?";
  if (isSomethingOpen() && !confirm(question)) {
    return;
  }
  end();
  page.replaceChildren();
  location.reload();
}

const isSomethingOpen = () => unfinished().some(({ came }) => !came);

// warnOfLoss makes the browser ask before the tab closes with unfinished intents. (It asks before
// a reload too, which would lose nothing.)
function warnOfLoss(event) {
  if (isSomethingOpen()) {
    event.preventDefault();
  }
}

function start() {
  const key = sessionStorage.getItem(keyName);
  if (!key) {
    if (!page.querySelector("[name=api_key]")) { // the form is not there yet
      page.replaceChildren(signIn());
      page.querySelector("[name=api_key]").focus();
    }
    return;
  }
  useAPIKey(key);
  show();
}

try {
  start();
  addEventListener("hashchange", start);
  addEventListener("unfinished", ({ detail }) => updateUnfinished(unfinishedShown, detail));
  addEventListener("beforeunload", warnOfLoss);
  page.addEventListener("click", (event) => { // a link to the current view reloads it
    if (event.target.closest("a")?.getAttribute("href") === location.hash) {
      goTo(location.hash);
    }
  });
} catch {
  page.replaceChildren(failureNode(new Error("This browser has no session storage for this page. " +
    "Without it, a request could not be repeated after a reload, so nothing is sent.")));
}
