// Repeats a call: as a curl command to copy, or in the browser.
import { headerTable, make, setText } from './dom.js'

const SAFE_METHODS = ['GET', 'HEAD']

/** Its path at this proxy, with the company in front, so that it reaches the same company from this address. */
export function pathOf({ target, company }) {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '')
  return company !== undefined && /^\/(rest|vapid)\//.test(path) ? `/${company}${path}` : path
}

const MASKED = /([?&](?:[^=&]*=)?)\*(?=&|$)/g
/** Characters that a terminal might interpret when they are pasted. */
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** The same call for a shell. Masked values and unknown bodies are placeholders. */
function curlOf(request, body) {
  const { method, bytesIn } = request
  const words = ['curl', '--globoff', '--path-as-is']
  if (method === 'HEAD') words.push('--head')
  else if (method !== 'GET' || bytesIn > 0) words.push('--request', quoted(method))
  let comment = ''
  if (bytesIn > 0) {
    words.push('--header', quoted(`Content-Type: ${body?.type ?? 'application/json'}`))
    if (body?.text !== undefined && body.whole && !body.masked && !CONTROL.test(body.text)) {
      words.push('--data-raw', quoted(body.text))
    } else {
      words.push('--data-binary', '@BODY.json')
      if (body !== undefined) comment = `# Put the body into the file BODY.json: ${whyNot(body)}\n`
    }
  }
  words.push(quoted(location.origin + pathOf(request).replaceAll(MASKED, '$1VALUE')))
  return comment + words.join(' ')
}

/** Why the command has no body. The text contains no character that is special to a shell. */
function whyNot({ text, whole, masked }) {
  if (text === undefined) return 'it is not kept'
  if (!whole) return 'only its beginning is kept'
  return masked ? 'a part of it is masked' : 'it has control characters'
}

/** The command with a button that copies it; `body` is undefined if none is kept. */
export function curlPart(request, body) {
  const text = curlOf(request, body)
  const code = make('pre', {}, text)
  const button = make('button', { type: 'button' }, 'Copy as curl')
  const said = make('span', { role: 'status' })
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text)
      setText(said, ' Copied.')
    } catch {
      // Outside of HTTPS and loopback there is no clipboard, so select the text for copying by hand.
      getSelection().selectAllChildren(code)
      setText(said, ' Selected; copy it with the keyboard.')
    }
  })
  return [make('p', {}, button, said), code]
}

/** A form that repeats a request that changes nothing. */
export function repeatPart(request) {
  const { method } = request
  if (!SAFE_METHODS.includes(method)) {
    const why = `A ${method} may change something, so it can't be repeated from here.`
    return [make('p', { class: 'muted' }, why)]
  }
  const path = pathOf(request)
  const input = make('input', { type: 'text', spellcheck: 'false', autocomplete: 'off', value: path })
  const said = make('div', { role: 'status' })
  const button = make('button', { type: 'submit' }, 'Repeat')
  const hint = path.search(MASKED) === -1 ? '' : ' (query values are masked: replace each * by its value)'
  const label = make('label', {}, `${method} at this proxy${hint}`, input)
  const form = make('form', { class: 'repeat' }, label, button)
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    button.disabled = true
    setText(said, '…')
    said.replaceChildren(...(await repeat(method, input.value)))
    button.disabled = false
  })
  return [form, said]
}

/** Asks this proxy again, and no other server. The body of the response is counted, not shown. */
async function repeat(method, path) {
  const url = URL.parse(path, location.origin)
  if (!path.startsWith('/') || url?.origin !== location.origin)
    return [make('p', {}, 'Enter a path of this proxy that begins with /.')]
  const start = performance.now()
  try {
    const response = await fetch(url, { method, cache: 'no-store', credentials: 'omit', redirect: 'manual' })
    let bytes = 0
    if (response.body !== null) for await (const chunk of response.body) bytes += chunk.length
    const ms = Math.round(performance.now() - start)
    const status = response.type === 'opaqueredirect' ? 'a redirect' : String(response.status)
    return [make('p', {}, `Status ${status}, ${bytes} bytes in ${ms} ms`), headerTable([...response.headers])]
  } catch (error) {
    return [make('p', { class: 'bad' }, `✕ No response: ${error.message}`)]
  }
}
