// Elements, made without markup: a text that somebody typed somewhere is never more than a text.

// element makes one. What it has a property for is set as a property ("className", "onclick", "value"), and the rest as an attribute.
// Children are nodes and texts; what is empty is left out.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute in made && attribute !== "list") { // that property is read only
      made[attribute] = value;
    } else {
      made.setAttribute(attribute, value);
    }
  }
  made.append(...children.flat(Infinity).filter(Boolean));
  return made;
}

// table has a heading for each column, and no row yet.
export const table = (headings) => element("table", {},
  element("thead", {}, element("tr", {}, headings.map((text) => element("th", { scope: "col" }, text)))),
  element("tbody"));

export const row = (cells) => element("tr", {}, cells.map((cell) => element("td", {}, cell)));

// definitions are names and values, in pairs. A value that is not there is left out.
export function definitions(pairs) {
  return element("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

export const link = (hash, text) => element("a", { href: hash }, text);

export const accountLink = (id) => link("#/accounts/" + encodeURIComponent(id), id);

export const paymentLink = (id) => link("#/payments/" + encodeURIComponent(id), id);

export const button = (text, onclick) => element("button", { type: "button", onclick }, text);

// time is a time of the service's, in the reader's own zone; the service's text is shown on hovering.
export const time = (text) => element("time", { dateTime: text, title: text }, new Date(text).toLocaleString());

// heading is that of a view.
export const heading = (text) => element("h1", { tabIndex: -1 }, text); // to be focused, so that a screen reader says where one is

// field is a labelled input.
export const field = (label, attributes) =>
  element("label", {}, element("span", {}, label), element("input", { autocomplete: "off", ...attributes }));

// textField is a labelled input of several lines.
export const textField = (label, attributes) =>
  element("label", {}, element("span", {}, label), element("textarea", attributes));

// choice is a labelled select, of pairs of a value and its text.
export const choice = (label, name, options, chosen) =>
  element("label", {}, element("span", {}, label), element("select", { name },
    options.map(([value, text]) => element("option", { value, selected: value === chosen }, text))));

// checkbox is a labelled box.
export const checkbox = (label, attributes) =>
  element("label", { className: "checkbox" }, element("input", { type: "checkbox", ...attributes }), element("span", {}, label));

// metadataText is a line for each name and value.
export const metadataText = (metadata) => Object.entries(metadata).map(([name, value]) => `${name}: ${value}`).join("\n");
