import { element, paymentLink } from "./dom.js";

// advice says what a problem's retry means to somebody who holds the key.
const advice = {
  same_key: "Nothing was done, and the key is not used up.",
  new_key: "That is decided, and stored with the key. Another attempt is another intent, and takes a new key.",
  never: "Sending it again will not help: see the payment for what was done.",
};

// problemNode shows an answer that is not a success, to a request with a key or to one without.
export function problemNode(answer, { keyed = false } = {}) {
  const problem = answer.problem;
  if (!problem) {
    const said = answer.status > 0 ? `status ${answer.status}, and not from the service itself` : answer.reason;
    return element("div", { className: "problem" }, element("p", {}, `No answer of the service: ${said}.`));
  }
  return element("div", { className: "problem" },
    element("p", {}, element("strong", {}, problem.title), ": ", problem.detail),
    (problem.errors ?? []).length > 0 && element("ul", {},
      problem.errors.map((each) => element("li", {}, element("code", {}, each.pointer), " ", each.detail))),
    keyed && element("p", {}, advice[problem.retry] ?? ""),
    problem.payment_id && element("p", {}, "It is about ", paymentLink(problem.payment_id), "."),
    element("p", { className: "fine" }, `${problem.status} `, element("a", { href: problem.type }, problem.code), ` · ${problem.request_id}`));
}

// failureNode shows what went wrong in drawing something: an answer that was thrown, or a mistake of this page.
export function failureNode(failure) {
  if (failure instanceof Error) {
    return element("div", { className: "problem" }, element("p", {}, failure.message));
  }
  return problemNode(failure);
}

export const notice = (...text) => element("p", { className: "notice" }, ...text);

