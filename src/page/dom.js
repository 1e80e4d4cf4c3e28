// Creates elements and text. The page shows untrusted data, so it only ever becomes text, never markup.

export const at = (id) => document.getElementById(id)

const creator =
  (namespace) =>
  (tag, attributes = {}, ...children) => {
    const element = document.createElementNS(namespace, tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
    element.append(...children)
    return element
  }

/** Each makes an element with attributes; children are elements or text. */
export const make = creator('http://www.w3.org/1999/xhtml')
export const draw = creator('http://www.w3.org/2000/svg')

/** Does nothing if the element already has the text, so that a screen reader does not repeat it. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return '–'
  return ms < 10 ? String(ms) : String(Math.round(ms))
}

/** `14:03:59`; with the date too if `dateStyle` says so. */
export function clock(ms, dateStyle) {
  const date = dateStyle === undefined ? {} : { year: 'numeric', month: 'short', day: 'numeric' }
  const time = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }
  return new Date(ms).toLocaleString('en-GB', { ...date, ...time })
}

export function size(bytes) {
  return `${bytes.toLocaleString('en')} byte${bytes === 1 ? '' : 's'}`
}

export function plural(count, word) {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}

export function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0)
}

/** A list of names and values; those without a value are left out. */
export function facts(...pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== '')
  const items = shown.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, ...[value].flat())])
  return make('dl', {}, ...items)
}

/** Causes and how to fix each, as a list. */
export function causeList(causes) {
  return make('ul', { class: 'causes' }, ...causes.map(({ cause, fix }) => make('li', {}, `${cause} ${fix}`)))
}

/** Names and values of headers as a table. */
export function headerTable(headers) {
  if (headers.length === 0) return make('p', {}, 'None from Procore.')
  const head = make('tr', {}, make('th', { scope: 'col' }, 'Name'), make('th', { scope: 'col' }, 'Value'))
  const rows = headers.map(([name, value]) => make('tr', {}, make('td', {}, name), make('td', {}, value)))
  return make('table', {}, make('thead', {}, head), make('tbody', {}, ...rows))
}
