// Sends small GETs on raw sockets and times each: one after the other, or so many a second whatever becomes of the last ones.
// At a fixed rate the schedule is never put off for slow answers, so no wait is left out (coordinated omission).
import { connect, type Socket } from 'node:net'

/** What this program is told, as JSON in its one argument. */
export interface LatencyOrder {
  readonly port: number
  readonly path: string
  readonly headers: Record<string, string>
  /** Requests a second; undefined: one connection, one after the other. */
  readonly rate?: number | undefined
  readonly seconds: number
  /** Also when each was sent, in ms of the wall clock. */
  readonly samples?: boolean
}

/** What it prints: times in µs, in the order in which the requests were due. */
export interface LatencyReport {
  readonly failed: number
  readonly us: readonly number[]
  readonly sentAt: readonly number[]
}

/** More than this at once is a stall that no number of connections mends. */
const MOST_CONNECTIONS = 512

/** After the last request was sent; what has no answer then has failed. */
const LONGEST_WAIT_MS = 10_000

interface Line {
  readonly socket: Socket
  /** Of the request that is under way. */
  dueAt: number
  buffered: string
  /** The server said that it closes it. */
  isOver: boolean
}

const order = JSON.parse(process.argv[2] ?? '{}') as LatencyOrder
const head = [
  `GET ${order.path} HTTP/1.1`,
  `Host: 127.0.0.1:${order.port}`,
  ...Object.entries(order.headers).map(([name, value]) => `${name}: ${value}`),
]
const text = `${head.join('\r\n')}\r\n\r\n`
const us: number[] = []
const sentAt: number[] = []
let failed = 0
let underWay = 0
let connections = 0
const idle: Line[] = []
/** Due, but there is no connection left. */
const waiting: number[] = []
const endsAt = performance.now() + order.seconds * 1000

function open(dueAt: number): void {
  connections++
  const socket = connect({ port: order.port, host: '127.0.0.1', noDelay: true })
  const line: Line = { socket, dueAt, buffered: '', isOver: false }
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => receive(line, chunk))
  socket.on('error', () => {})
  socket.on('close', () => {
    connections--
    if (line.isOver) return
    const place = idle.indexOf(line)
    if (place >= 0) idle.splice(place, 1)
    else if (underWay > 0) {
      underWay--
      failed++
      next()
    }
  })
  socket.write(text)
}

function send(dueAt: number): void {
  const line = idle.pop()
  if (line === undefined && connections >= MOST_CONNECTIONS) {
    waiting.push(dueAt)
    return
  }
  underWay++
  if (line === undefined) {
    open(dueAt)
    return
  }
  line.dueAt = dueAt
  line.socket.write(text)
}

function receive(line: Line, chunk: string): void {
  line.buffered = line.buffered === '' ? chunk : line.buffered + chunk
  const end = line.buffered.indexOf('\r\n\r\n')
  if (end < 0) return
  const length = /\r\ncontent-length: *(\d+)/i.exec(line.buffered)?.[1]
  const whole =
    length === undefined
      ? line.buffered.endsWith('\r\n0\r\n\r\n')
      : line.buffered.length >= end + 4 + Number(length)
  if (!whole) return
  if (line.buffered.startsWith('HTTP/1.1 200')) {
    us.push((performance.now() - line.dueAt) * 1000)
    if (order.samples) sentAt.push(performance.timeOrigin + line.dueAt)
  } else failed++
  const closes = /\r\nconnection: *close/i.test(line.buffered.slice(0, end))
  line.buffered = ''
  underWay--
  if (closes) {
    line.isOver = true
    line.socket.destroy()
  } else idle.push(line)
  next()
}

function next(): void {
  const due = waiting.shift()
  if (due !== undefined) send(due)
  else if (order.rate === undefined && performance.now() < endsAt) send(performance.now())
  else if (order.rate === undefined) finish()
}

/** What is still under way is late, and counts as what it is: the slowest. */
function finishWhenAnswered(deadline: number): void {
  if (underWay + waiting.length === 0 || performance.now() >= deadline) finish()
  else setTimeout(finishWhenAnswered, 10, deadline)
}

function finish(): void {
  const report: LatencyReport = { failed: failed + underWay + waiting.length, us, sentAt }
  process.stdout.write(JSON.stringify(report), () => process.exit(0))
}

if (order.rate === undefined) send(performance.now())
else {
  const beganAt = performance.now()
  const perMs = order.rate / 1000
  let sent = 0
  const timer = setInterval(() => {
    const now = performance.now()
    if (now >= endsAt) {
      clearInterval(timer)
      finishWhenAnswered(now + LONGEST_WAIT_MS)
      return
    }
    // What a late timer of this program adds is not the proxy's, so a request is due at the tick that sends it.
    for (const due = Math.floor((now - beganAt) * perMs); sent < due; sent++) send(now)
  }, 1)
}
