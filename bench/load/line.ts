// A line of so many milliseconds each way: passes bytes on late, to whatever port.
import { connect, createServer, type Socket } from 'node:net'

const [port = 0, target = 0, delayMs = 0] = process.argv.slice(2).map(Number)

/** Timers of one length run in the order in which they were set, so bytes stay in theirs. */
function carry(from: Socket, to: Socket): void {
  from.on('data', (chunk) => setTimeout(() => to.write(chunk), delayMs))
  from.on('end', () => setTimeout(() => to.end(), delayMs))
  from.on('error', () => to.destroy())
  from.on('close', () => setTimeout(() => to.destroy(), delayMs + 10))
}

createServer({ allowHalfOpen: true }, (near) => {
  const far = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true })
  for (const socket of [near, far]) socket.setNoDelay(true)
  carry(near, far)
  carry(far, near)
}).listen(port, '127.0.0.1')
