// Moves one large body on a raw socket and prints how long it took: node transfer.mjs ORDER
import { connect } from 'node:net'

/** `direction`: download or upload; `leave`: close the connection with the first bytes of the answer. */
const { port, path, headers, direction, bytes, leave = false } = JSON.parse(process.argv[2])
const PART = Buffer.alloc(256 * 1024)
const isUpload = direction === 'upload'
const lines = Object.entries({
  ...headers,
  ...(isUpload && { 'Content-Length': bytes, 'Content-Type': 'application/octet-stream' }),
}).map(([name, value]) => `${name}: ${value}\r\n`)
const began = performance.now()
let head = ''
let wanted = -1
let received = 0

const socket = connect({
  port,
  host: '127.0.0.1',
  onread: {
    buffer: Buffer.alloc(1024 * 1024),
    callback(count, buffer) {
      if (leave) finish()
      if (wanted >= 0) received += count
      else {
        head += buffer.subarray(0, count).toString('latin1')
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return true
        if (!head.startsWith('HTTP/1.1 200')) fail(head.slice(0, 300))
        // Without a length the body is chunked: it is over once the last chunk is here.
        wanted = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? (isUpload ? 0 : bytes))
        received = head.length - end - 4
      }
      if (received >= wanted) finish()
      return true
    },
  },
})
socket.on('error', (error) => fail(error.message))
socket.on('close', () => fail(`closed after ${received} of ${wanted} bytes`))
socket.write(
  `${isUpload ? 'POST' : 'GET'} ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${lines.join('')}\r\n`,
)
if (isUpload) upload(bytes)

function upload(left) {
  while (left > 0) {
    const part = Math.min(left, PART.length)
    left -= part
    if (!socket.write(part === PART.length ? PART : PART.subarray(0, part))) {
      const rest = left
      socket.once('drain', () => upload(rest))
      return
    }
  }
}

function finish() {
  socket.destroy()
  process.stdout.write(JSON.stringify({ ms: performance.now() - began }), () => process.exit(0))
}

function fail(why) {
  process.stderr.write(`${direction} of ${bytes} bytes failed: ${why}\n`, () => process.exit(1))
}
