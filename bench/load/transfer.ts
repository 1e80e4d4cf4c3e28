// Moves large bodies on a raw socket, as fast as it goes: downloads that are counted and dropped, or uploads of zeros.
import { connect } from 'node:net'

/** What this program is told, as JSON in its one argument. */
export interface TransferOrder {
  readonly port: number
  readonly path: string
  readonly headers: Record<string, string>
  readonly direction: 'download' | 'upload'
  readonly bytes: number
  /** One after the other on one connection. */
  readonly times: number
}

/** What it prints. */
export interface TransferReport {
  /** Empty where all went well. */
  readonly failed: string
  /** Of all together. */
  readonly ms: number
}

const PIECE = Buffer.alloc(256 * 1024)
/** Pieces that are handed to the socket before one of them is written. */
const AHEAD = 4

const order = JSON.parse(process.argv[2] ?? '{}') as TransferOrder
const isUpload = order.direction === 'upload'
const request = [
  `${isUpload ? 'POST' : 'GET'} ${order.path} HTTP/1.1`,
  `Host: 127.0.0.1:${order.port}`,
  ...Object.entries(order.headers).map(([name, value]) => `${name}: ${value}`),
  ...(isUpload ? [`Content-Length: ${order.bytes}`, 'Content-Type: application/octet-stream'] : []),
]
const text = `${request.join('\r\n')}\r\n\r\n`
const began = performance.now()
let done = 0
/** Of the answer, while it is not whole. */
let head = ''
/** Of the answer's body; below 0: its head is not here yet. */
let wanted = -1
let received = 0
let left = 0

const socket = connect({
  port: order.port,
  host: '127.0.0.1',
  noDelay: true,
  onread: {
    buffer: Buffer.alloc(1024 * 1024),
    callback: (count: number, buffer: Uint8Array) => {
      if (wanted < 0) readHead(Buffer.from(buffer.subarray(0, count)).toString('latin1'))
      else received += count
      if (wanted >= 0 && received >= wanted) next()
      return true
    },
  },
})
socket.on('error', (error) => finish(error.message))
socket.on('close', () => finish(`closed after ${received} of ${wanted} bytes`))
send()

function send(): void {
  socket.write(text)
  if (!isUpload) return
  left = order.bytes
  for (let ahead = 0; ahead < AHEAD; ahead++) push()
}

function push(): void {
  if (left <= 0) return
  const piece = left >= PIECE.length ? PIECE : PIECE.subarray(0, left)
  left -= piece.length
  socket.write(piece, push)
}

function readHead(chunk: string): void {
  head += chunk
  const end = head.indexOf('\r\n\r\n')
  if (end < 0) return
  if (!/^HTTP\/1\.1 200/.test(head)) finish(head.slice(0, 1000))
  const length = /\r\ncontent-length: *(\d+)/i.exec(head.slice(0, end))?.[1]
  // Without a length it is what was asked for, in pieces with some bytes more.
  wanted = Number(length ?? order.bytes)
  received = head.length - end - 4
}

function next(): void {
  if (left > 0) finish(`answered with ${left} bytes still to come`)
  if (!isUpload && wanted !== order.bytes) finish(`${wanted} bytes instead of ${order.bytes}`)
  head = ''
  wanted = -1
  done++
  if (done < order.times) send()
  else finish('')
}

function finish(failed: string): void {
  const report: TransferReport = { failed, ms: performance.now() - began }
  process.stdout.write(JSON.stringify(report), () => process.exit(0))
}
