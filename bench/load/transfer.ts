// Moves one large body on a raw socket, as fast as it goes: a download that is counted and dropped, or an upload of zeros.
import { connect } from 'node:net'

/** What this program is told, as JSON in its one argument. */
export interface TransferOrder {
  readonly port: number
  readonly path: string
  readonly headers: Record<string, string>
  readonly direction: 'download' | 'upload'
  readonly bytes: number
}

/** What it prints. */
export interface TransferReport {
  readonly status: number
  readonly bytes: number
  readonly ms: number
}

const PIECE = Buffer.alloc(256 * 1024)
/** Pieces that are handed to the socket before one of them is written. */
const AHEAD = 4

const order = JSON.parse(process.argv[2] ?? '{}') as TransferOrder
const isUpload = order.direction === 'upload'
const head = [
  `${isUpload ? 'POST' : 'GET'} ${order.path} HTTP/1.1`,
  `Host: 127.0.0.1:${order.port}`,
  ...Object.entries(order.headers).map(([name, value]) => `${name}: ${value}`),
  ...(isUpload ? [`Content-Length: ${order.bytes}`, 'Content-Type: application/octet-stream'] : []),
]
const began = performance.now()
let start = ''
let received = 0
let left = order.bytes

const socket = connect({
  port: order.port,
  host: '127.0.0.1',
  noDelay: true,
  onread: {
    buffer: Buffer.alloc(1024 * 1024),
    callback: (count: number, buffer: Uint8Array) => {
      received += count
      if (!start.includes('\r\n\r\n')) {
        start += Buffer.from(buffer.subarray(0, count)).toString('latin1')
        const end = start.indexOf('\r\n\r\n')
        if (end < 0) return true
        received = start.length - end - 4
      }
      if (isUpload || received >= order.bytes) finish()
      return true
    },
  },
})
socket.on('error', (error) => {
  console.error(error.message)
  process.exit(1)
})
socket.on('close', () => finish())
socket.write(`${head.join('\r\n')}\r\n\r\n`)
if (isUpload) for (let ahead = 0; ahead < AHEAD; ahead++) push()

function push(): void {
  if (left <= 0) return
  const piece = left >= PIECE.length ? PIECE : PIECE.subarray(0, left)
  left -= piece.length
  socket.write(piece, push)
}

function finish(): void {
  const report: TransferReport = {
    status: Number(/^HTTP\/1\.\d (\d{3})/.exec(start)?.[1] ?? 0),
    bytes: isUpload ? order.bytes - left : received,
    ms: performance.now() - began,
  }
  process.stdout.write(JSON.stringify(report), () => process.exit(0))
}
