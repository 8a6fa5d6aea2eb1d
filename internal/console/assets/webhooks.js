// The list of webhook endpoints, and one endpoint with the tries to deliver to it. Requests here
// have no key: the changes are idempotent by their method, and what is sent twice has one id.

import { changeForm } from "./change_form.js";
import {
  button, choice, definitions, element, field, heading, link, replaceIn, textField, time,
} from "./dom.js";
import { exchange, get } from "./exchange.js";
import { FieldError } from "./field_errors.js";
import { pages } from "./list.js";
import { goTo } from "./place.js";
import { changeProblem } from "./problem.js";

const endpointLink = (id) => link("#/webhooks/" + encodeURIComponent(id), id);

const pathOf = (id) => "/webhook-endpoints/" + encodeURIComponent(id);

const typesText = (types) => (types.length > 0 ? types.join(", ") : "all");

const statusText = ({ status, disabled_reason: reason }) =>
  (reason === "gone" ? `${status}: it answered 410` : status);

// webhooksView lists endpoints, and has a form to make one.
export async function webhooksView() {
  const headings = ["Endpoint", "URL", "Events", "Status"];
  return element("section", {},
    heading("Webhooks"),
    await pages("Webhook endpoints", "/webhook-endpoints", {}, headings, (endpoint) => [
      endpointLink(endpoint.id), endpoint.url, typesText(endpoint.event_types),
      statusText(endpoint),
    ]),
    makeForm());
}

// makeForm makes an endpoint. It first checks that it does not exist, because a PUT would replace
// its terms.
const makeForm = () => changeForm({
  title: "Make a webhook endpoint",
  submit: "Make it",
  fields: [field("Id", { name: "id", required: true }), ...termsFields({})],
  async send(typed) {
    const there = await exchange("GET", pathOf(typed.id));
    if (there.yes) {
      throw new FieldError("id", `There is an endpoint ${typed.id}: its own page changes it.`);
    }
    if (there.problem?.code !== "not_found") {
      throw there;
    }
    return exchange("PUT", pathOf(typed.id), { body: JSON.stringify(termsOf(typed)) });
  },
  done: ({ id, secret }) => [
    endpointLink(id), " is made. Its secret: ", element("code", {}, secret ?? "as before"),
  ],
  showAgain,
});

const termsFields = ({ url = "", event_types: types = [] }) => [
  field("URL", { name: "url", type: "url", required: true, value: url }),
  textField("Types of events, one in a line; none: all",
    { name: "event_types", value: types.join("\n"), rows: 2 }),
];

const termsOf = ({ url, event_types: types }) => ({
  url, event_types: types.split(/[\s,]+/).filter(Boolean),
});

// webhookView shows one endpoint, its terms and the tries to deliver to it.
export async function webhookView(id) {
  const path = pathOf(id);
  const endpoint = (await get(path)).value;
  const headings = ["At", "Event", "Try", "Answer", "Took", "First bytes", "Again"];
  return element("section", {},
    heading(`Webhook endpoint ${id}`),
    definitions([
      ["URL", endpoint.url],
      ["Events", typesText(endpoint.event_types)],
      ["Status", statusText(endpoint)],
      ["Created", time(endpoint.created_at)],
    ]),
    editForm(endpoint, path),
    testForm(path),
    deleteForm(endpoint, path),
    element("h2", {}, "Tries to deliver"),
    await pages("Tries to deliver", path + "/attempts", {}, headings, (attempt) => [
      time(attempt.at), element("code", {}, attempt.event_id), String(attempt.number),
      attempt.status_code === null ? attempt.error : String(attempt.status_code),
      `${attempt.latency_ms} ms`, attempt.response.slice(0, 100), redelivery(attempt, id),
    ]));
}

// editForm changes the terms of this version.
const editForm = ({ id, version, status, url, event_types }, path) => changeForm({
  submit: `Change version ${version}`,
  fields: [
    ...termsFields({ url, event_types }),
    choice("Status", "status", ["enabled", "disabled"].map((each) => [each, each]), status),
  ],
  send: (typed) => exchange("PUT", path, {
    ifMatch: `"${version}"`, body: JSON.stringify({ ...termsOf(typed), status: typed.status }),
  }),
  done: () => ["It is changed. ", endpointLink(id)],
  showAgain,
});

const testForm = (path) => changeForm({
  submit: "Send a test event",
  fields: [],
  send: () => exchange("POST", path + "/test"),
  done: ({ event_id: id }) => ["It is on its way: ", element("code", {}, id)],
  showAgain,
});

const deleteForm = ({ id, version }, path) => changeForm({
  submit: "Delete it",
  question: `Delete ${id}? It gets no more events, and its tries are forgotten.`,
  fields: [],
  send: () => exchange("DELETE", path, { ifMatch: `"${version}"` }),
  done: () => ["It is deleted. ", link("#/webhooks", "Webhooks")],
  showAgain,
});

// redelivery is a button that sends an attempt's event once more, to this endpoint. A test event
// is not in the feed, so the service refuses it.
function redelivery({ event_id: event }, id) {
  const shown = element("div", { "aria-live": "polite" });
  async function send() {
    replaceIn(shown, "…"); // prevents a second click
    const answer = await exchange("POST", `/events/${event}/redeliver`,
      { body: JSON.stringify({ webhook_endpoint: id }) });
    const sent = answer.value?.webhook_endpoints?.length > 0;
    replaceIn(shown, answer.yes
      ? sent ? "It is on its way." : "It does not subscribe, or is disabled."
      : changeProblem(answer));
  }
  shown.append(button("Send again", send));
  return shown;
}

const showAgain = () => goTo(location.hash);
