// Answers that are not a success, and their meaning after a read, a change, or a request with a
// key.

import { element, paymentLink } from "./dom.js";
import { showError } from "./field_errors.js";

// failureNode shows a failure: an Answer that was thrown, or an Error about the input. An error
// of a field of the form is shown there, and there only: then the result may be null.
export function failureNode(failure, form) {
  if (!(failure instanceof Error)) {
    return problemNode(failure, "", form);
  }
  if (failure.field && showError(form, failure.field, failure.message)) {
    return null;
  }
  return element("div", { className: "problem" }, element("p", {}, failure.message));
}

// changeProblem shows an answer to a change without a key.
export function changeProblem(answer, form) {
  const refused = answer.problem && answer.status < 500;
  const note = refused ? "" : "It may have been done. Sending it again is safe.";
  return problemNode(answer, note, form);
}

// keyedProblem shows an answer to a request with a key.
export const keyedProblem = (answer, form) =>
  problemNode(answer, advice[answer.problem?.retry], form);

// advice explains a problem's retry.
const advice = {
  same_key: "Nothing was done, and the key is free.",
  new_key: "This decline is stored with the key. " +
    "Another attempt is another intent, and takes a new key.",
  never: "Do not send it again. The payment has the result of the earlier request.",
};

// problemNode shows a problem. Each of its errors is shown at its field of the form, or else here.
export function problemNode(answer, note, form) {
  const problem = answer.problem;
  if (!problem) {
    const said = answer.status > 0
      ? `status ${answer.status}, and not from the service itself`
      : answer.reason;
    return element("div", { className: "problem" },
      element("p", {}, `No answer from the service: ${said}. `, note));
  }
  const errors = problem.errors ?? []; // they repeat the detail
  const others = errors.filter(({ pointer, detail }) =>
    !showError(form, pointer.split("/")[1] ?? "", detail));
  return element("div", { className: "problem" },
    element("p", {}, element("strong", {}, problem.title),
      errors.length === 0 && `: ${problem.detail}`,
      errors.length > others.length && ": see above."),
    others.length > 0 && element("ul", {}, others.map(({ pointer, detail }) =>
      element("li", {}, element("code", {}, pointer), " ", detail))),
    note && element("p", {}, note),
    answer.retryAfterMs > 0 &&
      element("p", {}, `It asks to come back in ${answer.retryAfterMs / 1000} s.`),
    problem.payment_id && element("p", {}, "It is about ", paymentLink(problem.payment_id), "."),
    element("p", { className: "fine" },
      `${problem.status} `, element("a", { href: problem.type }, problem.code),
      ` · ${problem.request_id}`));
}
