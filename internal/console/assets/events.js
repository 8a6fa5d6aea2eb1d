// The live page of events, newest first.

import {
  addRow, button, choice, element, field, heading, paymentLink, replaceIn, scrolling, statusNode,
  submitButton, table, time,
} from "./dom.js";
import { money } from "./money.js";
import { goTo } from "./place.js";
import { failureNode } from "./problem.js";
import { Stream } from "./stream.js";

const rowsMax = 200;

const types = [
  "payment.processing", "payment.authorized", "payment.succeeded", "payment.declined",
  "payment.canceled", "refund.processing", "refund.succeeded", "refund.declined",
];

// eventsView begins with the latest events and adds each new one. It ends when the reader goes
// to another view.
export async function eventsView(_, query) {
  const filters = Object.fromEntries(query);
  const search = (event) => {
    event.preventDefault();
    const typed = [...new FormData(event.target)].filter(([, value]) => value !== "");
    goTo("#/events?" + new URLSearchParams(typed));
  };
  const form = element("form", { className: "filters", onsubmit: search },
    choice("Type", "type", [["", "any"], ...types.map((type) => [type, type])], filters.type),
    field("Payment", { name: "payment_id", value: filters.payment_id ?? "" }),
    submitButton("Find"));
  return element("section", {}, heading("Events"), form, liveTable(filters, form));
}

function liveTable(filters, form) {
  const shown = table(["At", "Event", "Payment", "Amount", "Version"]);
  const state = element("p", { className: "fine", role: "status" }, "Connecting.");
  const control = element("div");
  const stream = new Stream("/events?" + new URLSearchParams({ ...filters, begin: "latest" }), {
    onEvent: (event) => addEvent(shown, event),
    onOpen: () => say("Live: new events appear at the top."),
    onLost: () => say("The connection is lost. Trying again; no event will be missing."),
  });
  const say = (text) => {
    state.textContent = text;
  };

  function start() {
    replaceIn(control, button("Pause", pause));
    stream.started().catch((failure) =>
      replaceIn(control, failureNode(failure, form), button("Try again", start)));
  }

  function pause() {
    stream.stop();
    say("Paused. No event will be missing.");
    replaceIn(control, button("Go on", start));
    control.firstChild.focus();
  }

  addEventListener("hashchange", () => stream.stop(), { once: true });
  start();
  return element("div", {}, state, control, scrolling("Events", shown));
}

function addEvent(shown, { type, created_at: at, payment_id: id, payment_version, data }) {
  const row = addRow(shown, [
    time(at), statusNode(type.split(".")[1], type), paymentLink(id),
    data.currency ? money(data.amount, data.currency) : "", String(payment_version),
  ]);
  const rows = shown.tBodies[0];
  rows.prepend(row);
  if (rows.rows.length > rowsMax && !rows.lastChild.contains(document.activeElement)) {
    rows.lastChild.remove();
  }
}
