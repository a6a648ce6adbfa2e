// Elements are kept and changed only where something changed. What comes from outside is text, never HTML.

export const byId = (id) => document.getElementById(id);

export function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export function mark(element, name, word) {
  if (element.dataset[name] !== word) element.dataset[name] = word;
}

export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Make the children of `parent` those of `items`, in order; the element of a key is made once and told of its item.
export function list(parent, items, keyOf, makeOne, tell) {
  const known = (parent.known ??= new Map());
  const seen = new Set();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    seen.add(key);
    let element = known.get(key);
    if (!element) known.set(key, (element = makeOne(item)));
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
    tell(element, item);
  }
  for (const [key, element] of known) {
    if (seen.has(key)) continue;
    element.remove();
    known.delete(key);
  }
}

export function rows(body, items, keyOf, cellsOf, classes = []) {
  const makeOne = () => make("tr", "", ...classes.map((name) => make("td", name)));
  list(body, items, keyOf, makeOne, (row, item) => {
    cellsOf(item, row).forEach((words, index) => put(row.cells[index], words));
  });
}
