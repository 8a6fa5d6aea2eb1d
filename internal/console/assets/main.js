// The page: who is asking, and what is shown.

import { accountView, accountsView } from "./accounts.js";
import { chargeView } from "./charge.js";
import { button, element, field, link } from "./dom.js";
import { get, useAPIKey } from "./exchange.js";
import { unfinished } from "./intent.js";
import { unfinishedNode } from "./intent_form.js";
import { paymentView, paymentsView } from "./payments.js";
import { failureNode } from "./problem.js";

const keyName = "paymentsvc.api_key"; // in the tab's session storage: there after a reload, and gone with the tab

const page = document.getElementById("console");
const views = [
  ["charge", chargeView],
  ["payments", paymentsView],
  ["payments/:id", paymentView],
  ["accounts", accountsView],
  ["accounts/:id", accountView],
];

// viewOf finds what a hash such as "#/payments/pay_…?…" shows.
function viewOf(hash) {
  const [path, query = ""] = hash.replace(/^#\//, "").split("?");
  const [name, id] = path.split("/");
  const found = views.find(([pattern]) => pattern === (id ? name + "/:id" : name)) ?? views[0];
  return () => found[1](decodeURIComponent(id ?? ""), new URLSearchParams(query));
}

let shown = 0; // counts what was asked for, so that what comes too late is not shown

async function show() {
  const number = ++shown;
  if (!sessionStorage.getItem(keyName)) {
    page.replaceChildren(signIn());
    return;
  }
  let view;
  try {
    view = await viewOf(location.hash)();
  } catch (failure) {
    view = failureNode(failure);
  }
  if (number === shown) {
    page.replaceChildren(...[menu(), unfinishedNode(), view].filter(Boolean));
  }
}

const menu = () => element("p", { className: "menu" },
  link("#/charge", "Charge"), link("#/payments", "Payments"), link("#/accounts", "Accounts"), button("Forget the API key", signOut));

// signIn takes an API key that the service knows.
function signIn() {
  const report = element("div", { "aria-live": "polite" });
  async function enter(event) {
    event.preventDefault();
    const key = new FormData(event.target).get("api_key").trim();
    try {
      await use(key);
      sessionStorage.setItem(keyName, key);
      show();
    } catch (failure) {
      report.replaceChildren(failureNode(failure));
    }
  }
  return element("form", { onsubmit: enter },
    element("h1", {}, "The console"),
    element("p", {}, "Charges, accounts and payments of one merchant, by the same API that programs call. The key stays in this tab " +
      "until it is closed."),
    element("fieldset", {},
      field("API key", { name: "api_key", type: "password", required: true, placeholder: "sk_…" }),
      element("button", { type: "submit" }, "Open")),
    report);
}

// use calls with a key from now on, if the service takes it, and offers the first accounts where one has to be named.
async function use(key) {
  useAPIKey(key);
  const { data } = (await get("/accounts", { limit: 100 })).value;
  document.getElementById("accounts").replaceChildren(...data.map(({ id }) => element("option", { value: id })));
}

// signOut forgets whose tab this is, and with it what is unfinished: under another merchant's key that would be another intent.
function signOut() {
  const question = "There are unfinished requests, which this tab will then not be able to find out about. Forget them?";
  if (unfinished().length > 0 && !confirm(question)) {
    return;
  }
  sessionStorage.clear();
  location.reload(); // and whatever is still being sent, or waits to be sent again, ends
}

addEventListener("hashchange", show);
page.addEventListener("click", (event) => { // a link to where one is shows it anew
  if (event.target.closest("a")?.getAttribute("href") === location.hash) {
    show();
  }
});
const kept = sessionStorage.getItem(keyName);
if (kept) {
  await use(kept).catch(() => {}); // whatever is wrong, what is shown next says it
}
show();
