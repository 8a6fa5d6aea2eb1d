// The page: who is asking, and what is shown.

import { accountView, accountsView, offerAccounts } from "./accounts.js";
import { chargeView } from "./charge.js";
import { button, element, field, heading, link } from "./dom.js";
import { useAPIKey } from "./exchange.js";
import { end, unfinished } from "./intent.js";
import { unfinishedList, updateUnfinished } from "./intent_form.js";
import { paymentView, paymentsView } from "./payments.js";
import { goTo } from "./place.js";
import { failureNode } from "./problem.js";

const keyName = "paymentsvc.api_key"; // in the tab's session storage: there after a reload, and gone with the tab

const page = document.getElementById("console");
let unfinishedShown; // the list of them

const views = [
  ["charge", chargeView],
  ["payments", paymentsView],
  ["payments/:id", paymentView],
  ["accounts", accountsView],
  ["accounts/:id", accountView],
];

// viewOf makes what a hash such as "#/payments/pay_…?…" stands for.
function viewOf(hash) {
  const [path, query = ""] = hash.replace(/^#\//, "").split("?");
  const [name, id] = path.split("/");
  const [, view] = views.find(([pattern]) => pattern === (id ? name + "/:id" : name)) ?? views[0];
  return view(decodeURIComponent(id ?? ""), new URLSearchParams(query));
}

let asked = 0; // counts, so that a view which comes late does not replace a newer one

async function show() {
  const number = ++asked;
  let view;
  try {
    view = await viewOf(location.hash);
  } catch (failure) {
    view = element("section", {}, heading("Not to be shown"), failureNode(failure), button("Try again", start));
  }
  if (number === asked) {
    unfinishedShown = unfinishedList();
    page.replaceChildren(menu(), unfinishedShown, view);
    const title = view.querySelector("h1");
    document.title = `paymentsvc: ${title.textContent}`;
    title.focus();
  }
}

const menu = () => element("nav", { className: "menu", "aria-label": "Console" },
  [["#/charge", "Charge"], ["#/payments", "Payments"], ["#/accounts", "Accounts"]].map(([hash, text]) => link(hash, text)),
  button("Forget the API key", signOut));

// signIn takes an API key that the service knows.
function signIn() {
  const inputs = element("fieldset", {},
    field("API key", {
      name: "api_key", type: "password", required: true, placeholder: "sk_…", pattern: "\\s*sk_[0-9a-z]+\\s*",
      title: "It begins with sk_",
    }),
    element("button", { type: "submit" }, "Open"));
  const report = element("div", { "aria-live": "polite" });
  async function enter(event) {
    event.preventDefault();
    const key = new FormData(event.target).get("api_key").trim();
    inputs.disabled = true; // one key at a time
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
    element("p", {}, "Charges, accounts and payments of one merchant, by the same API that programs call. The key stays in this tab " +
      "until it is closed."),
    inputs, report);
}

// signOut forgets whose tab this is, and with it what is unfinished: under another merchant's key that would be another intent.
function signOut() {
  const question = "There are unfinished requests, which this tab will then not be able to find out about. Forget them?";
  if (isSomethingOpen() && !confirm(question)) {
    return;
  }
  end();
  page.replaceChildren();
  location.reload();
}

const isSomethingOpen = () => unfinished().some(({ came }) => !came);

// warnOfLoss has the browser ask before the tab goes, and what it has not found out with it. (A reload would lose nothing, but looks
// the same.)
function warnOfLoss(event) {
  if (isSomethingOpen()) {
    event.preventDefault();
  }
}

function start() {
  const key = sessionStorage.getItem(keyName);
  if (!key) {
    if (!page.querySelector("[name=api_key]")) { // one key is asked for at a time
      page.replaceChildren(signIn());
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
  page.addEventListener("click", (event) => { // a link to where one is shows it anew
    if (event.target.closest("a")?.getAttribute("href") === location.hash) {
      goTo(location.hash);
    }
  });
} catch {
  page.replaceChildren(failureNode(new Error("This browser has no session storage for this page. Without it, what a lost answer " +
    "was about would be lost too, so nothing is sent.")));
}
