// An API and a login server on raw sockets, plain and TLS, so that they cost less than any proxy: node upstream.mjs ORDER
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

const { plain, tls, certificate, key } = JSON.parse(process.argv[2])
const ZEROS = Buffer.alloc(256 * 1024)
const RATE =
  'X-Rate-Limit-Limit: 1000000000\r\nX-Rate-Limit-Remaining: 999999999\r\nX-Rate-Limit-Reset: 4000000000\r\n'
const items = Array.from({ length: 12 }, (_, id) => ({
  id,
  name: `Item ${id}`,
  updated_at: '2026-01-01T00:00:00Z',
}))
const LIST = answer(JSON.stringify(items).padEnd(1024))
const TOKEN = answer(
  JSON.stringify({
    access_token: 'bench'.repeat(60),
    token_type: 'Bearer',
    expires_in: 5400,
    created_at: 1_700_000_000,
  }),
)

function answer(body) {
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${RATE}Content-Length: ${body.length}\r\n\r\n${body}`
}

/** Answers one request after the other. Bodies have a length, or are chunked and recognised by their end. */
function serve(socket) {
  let head = ''
  let left = -1
  let tail = ''
  const finish = () => {
    const path = /^\w+ (\S+)/.exec(head)?.[1] ?? ''
    const bytes = /\/bytes\/(\d+)/.exec(path)?.[1]
    const closes = /^connection: *close/im.test(head) || head.includes('HTTP/1.0')
    head = tail = ''
    left = -1
    if (bytes !== undefined) sendZeros(socket, Number(bytes), closes)
    else socket[closes ? 'end' : 'write'](path === '/oauth/token' ? TOKEN : LIST)
  }
  socket.setNoDelay?.(true)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    let body = chunk.length
    if (left < 0) {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      tail = head.slice(end + 4)
      body = tail.length
      head = head.slice(0, end)
      if (/^expect: *100-continue/im.test(head)) socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      const length = /^content-length: *(\d+)/im.exec(head)?.[1]
      left = /^transfer-encoding: *chunked/im.test(head) ? Number.POSITIVE_INFINITY : Number(length ?? 0)
    } else if (left === Number.POSITIVE_INFINITY) {
      tail = (tail + chunk.subarray(-5).toString('latin1')).slice(-5)
    }
    left -= body
    if (left <= 0 || (left === Number.POSITIVE_INFINITY && tail.endsWith('0\r\n\r\n'))) finish()
  })
}

function sendZeros(socket, bytes, closes) {
  socket.write(
    `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${bytes}\r\n\r\n`,
  )
  let left = bytes
  const more = () => {
    while (left > 0 && !socket.destroyed) {
      const part = Math.min(left, ZEROS.length)
      left -= part
      if (!socket.write(part === ZEROS.length ? ZEROS : ZEROS.subarray(0, part)))
        return socket.once('drain', more)
    }
    if (closes) socket.end()
  }
  more()
}

createServer(serve).listen({ port: plain, host: '127.0.0.1', backlog: 4096 })
const options = { cert: readFileSync(certificate), key: readFileSync(key) }
createTlsServer(options, serve).listen({ port: tls, host: '127.0.0.1', backlog: 4096 })
