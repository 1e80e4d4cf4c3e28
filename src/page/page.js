// The page at /_proxy/: connects to the proxy's stream of events and shows what comes.
import { showHealth, showSeries, showStatus } from './companies.js'
import { at, setText } from './dom.js'
import { addRequests, replaceRequests, startFilters } from './requests.js'

/** The status arrives every two seconds. Without it, the connection is dead even if there was no error. */
const SILENCE_MS = 15_000
const AGAIN_MS = 3_000

let source
let watchdog
/** What arrived while a button of the mouse is pressed. */
let held

function connect() {
  clearTimeout(watchdog)
  source?.close()
  source = new EventSource('events')
  const on = (name, show) =>
    source.addEventListener(name, ({ data }) => {
      watch(SILENCE_MS)
      const act = () => show(JSON.parse(data))
      if (held) held.push(act)
      else act()
    })
  on('hello', ({ status, series, requests, keepsBodies }) => {
    showConnection(true, 'Live')
    at('bodies').hidden = !keepsBodies
    showStatus(status)
    showSeries(series)
    replaceRequests(requests)
  })
  on('status', showStatus)
  on('series', showSeries)
  on('requests', addRequests)
  source.addEventListener('error', () => {
    showConnection(false, 'Not connected, trying again…')
    showHealth('warn', '! The proxy does not answer; what is shown is old.')
    // Where the proxy refused, the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) watch(AGAIN_MS)
  })
  watch(SILENCE_MS)
}

/** Reconnects after this time, unless it is called again before. */
function watch(ms) {
  clearTimeout(watchdog)
  watchdog = setTimeout(connect, ms)
}

function showConnection(isLive, text) {
  const connection = at('connection')
  connection.className = isLive ? 'ok' : 'warn'
  setText(connection.querySelector('.sign'), isLive ? '●' : '○')
  setText(connection.querySelector('.text'), text)
}

/** Nothing may move while a button is pressed: a browser drops a click that ends on another row than it began on. */
function holdWhilePressed() {
  addEventListener('pointerdown', ({ button }) => {
    if (button === 0) held ??= []
  })
  const release = () => {
    const acts = held ?? []
    held = undefined
    for (const act of acts) act()
  }
  // The click comes right after this event.
  for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => setTimeout(release))
}

holdWhilePressed()
startFilters()
at('close').addEventListener('click', () => at('detail').close())
connect()
