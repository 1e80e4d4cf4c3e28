// Sends small requests as fast as they are answered, or at a fixed rate, and prints what came back: node load.mjs ORDER
import { connect } from 'node:net'

/** `rate`: requests a second in all, undefined for as many as possible; `companies`: ids to take turns with. */
const { port, path, headers, seconds, connections, rate, companies = [] } = JSON.parse(process.argv[2])
const texts = (companies.length > 0 ? companies : [undefined]).map((company) => {
  const all = { ...headers, ...(company !== undefined && { 'Procore-Company-Id': company }) }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${lines.join('')}\r\n`
})
const times = []
const idle = []
let sent = 0
let failed = 0
let underWay = 0
const endsAt = performance.now() + seconds * 1000

function send(line) {
  line.sentAt = performance.now()
  underWay++
  line.socket.write(texts[sent++ % texts.length])
}

function open() {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  const line = { socket, sentAt: 0, text: '' }
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.on('close', () => {
    if (line.isOver) return
    failed++
    underWay--
    finishIfDone()
  })
  socket.on('data', (chunk) => receive(line, chunk))
  return line
}

function receive(line, chunk) {
  line.text += chunk
  const end = line.text.indexOf('\r\n\r\n')
  if (end < 0) return
  const length = /\r\ncontent-length: *(\d+)/i.exec(line.text)?.[1]
  const isWhole =
    length === undefined ? line.text.endsWith('0\r\n\r\n') : line.text.length >= end + 4 + Number(length)
  if (!isWhole) return
  if (line.text.startsWith('HTTP/1.1 200')) times.push(performance.now() - line.sentAt)
  else failed++
  const closes = /\r\nconnection: *close/i.test(line.text.slice(0, end))
  line.text = ''
  underWay--
  let next = line
  if (closes) {
    line.isOver = true
    line.socket.destroy()
    next = open()
  }
  if (rate === undefined && performance.now() < endsAt) send(next)
  else {
    idle.push(next)
    finishIfDone()
  }
}

function finishIfDone() {
  if (performance.now() < endsAt || underWay > 0) return
  times.sort((one, other) => one - other)
  const at = (part) => (times[Math.floor(times.length * part)] ?? 0) * 1000
  const report = { requests: times.length, failed, p50Us: at(0.5), p99Us: at(0.99) }
  process.stdout.write(JSON.stringify(report), () => process.exit(0))
}

if (rate === undefined) for (let count = 0; count < connections; count++) send(open())
else {
  const beganAt = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    if (now >= endsAt) {
      clearInterval(timer)
      finishIfDone()
    } else for (const due = ((now - beganAt) / 1000) * rate; sent < due; ) send(idle.pop() ?? open())
  }, 1)
}
