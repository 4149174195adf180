/**
 * The page's elements. The markup stands in index.html; code finds its parts by the same stable `data-testid` that the
 * tests use, and makes new elements only through `el`, which sets text and attributes and never parses HTML.
 */

/** The one element with this `data-testid`; a missing one is a bug of the page. */
export function part<T extends Element>(testId: string, type: new () => T): T {
  const found = document.querySelector(`[data-testid="${testId}"]`)
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} with data-testid="${testId}"`)
  return found
}

export const button = (testId: string): HTMLButtonElement => part(testId, HTMLButtonElement)
export const input = (testId: string): HTMLInputElement => part(testId, HTMLInputElement)

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>
type Child = Node | string

/** An element with attributes (`undefined` and `false` leave one out) and children; strings become text nodes. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  setAttributes(made, attributes)
  made.append(...children)
  return made
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag)
  setAttributes(made, attributes)
  made.append(...children)
  return made
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue
    element.setAttribute(name, value === true ? '' : String(value))
  }
}

/** Writes only what differs, so that a screen reader is not told the same thing twice. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

export function setData(element: HTMLElement | SVGElement, name: string, value: string): void {
  if (element.dataset[name] !== value) element.dataset[name] = value
}
