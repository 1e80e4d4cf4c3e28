// An API that reads whatever is uploaded and throws it away; below HTTP libraries, so that it is never what is slow.
import { createServer, type Socket } from 'node:net'

const SMALL_ANSWER = answer('[]'.padEnd(1024))

function answer(body: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

/** One request after the other; bodies with Content-Length or, seen by their end, chunked. */
function serve(socket: Socket): void {
  let head = ''
  let left = -1
  let tail = ''
  let closes = false
  const finish = () => {
    left = -1
    head = ''
    tail = ''
    if (closes) socket.end(SMALL_ANSWER)
    else socket.write(SMALL_ANSWER)
  }
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    let body = chunk.length
    if (left < 0) {
      head += chunk.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      body = head.length - end - 4
      tail = head.slice(end + 4)
      head = head.slice(0, end)
      closes = /^connection: *close/im.test(head) || /HTTP\/1\.0/.test(head)
      const length = /^content-length: *(\d+)/im.exec(head)?.[1]
      if (/^expect: *100-continue/im.test(head)) socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      left = /^transfer-encoding: *chunked/im.test(head) ? Number.POSITIVE_INFINITY : Number(length ?? 0)
    } else if (left === Number.POSITIVE_INFINITY) {
      tail = (tail + chunk.subarray(-5).toString('latin1')).slice(-5)
    }
    left -= body
    if (left <= 0 || (left === Number.POSITIVE_INFINITY && tail.endsWith('0\r\n\r\n'))) finish()
  })
}

createServer(serve).listen(Number(process.argv[2]), '127.0.0.1')
