import { button, element, row, table } from "./dom.js";
import { get } from "./exchange.js";
import { failureNode } from "./problem.js";

const pageSize = 20;

// pages shows a list as a table: the first page, and a button for the next one. (A page of a filtered list may be empty and
// not the last.)
export async function pages(path, filters, headings, cellsOf) {
  const shown = table(headings);
  const more = element("div");
  let cursor = "";

  async function showPage() {
    more.replaceChildren("…"); // prevents a second click
    const { data, next_cursor: next } = (await get(path, { ...filters, limit: pageSize, cursor })).value;
    shown.tBodies[0].append(...data.map((thing) => row(cellsOf(thing))));
    cursor = next;
    more.replaceChildren(next ? button("Go on", goOn) : shown.tBodies[0].rows.length === 0 ? "There is none." : "");
  }

  const goOn = () => showPage().catch((failure) => more.replaceChildren(failureNode(failure), button("Try again", goOn)));

  await showPage();
  return element("div", {}, element("div", { className: "scroll" }, shown), more);
}
