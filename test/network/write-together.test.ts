// Twin of src/network/write-together.ts: what is written in one turn leaves at its end.
import { Writable } from 'node:stream'
import t from 'tap'
import { settleTogether, writeNow, writeTogether } from '../../src/network/write-together.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

function sink(name: string, log: string[]): Writable {
  return new Writable({
    writev(chunks, done) {
      log.push(`${name} ${chunks.map(({ chunk }) => chunk).join('')}`)
      done()
    },
  })
}

t.test('What is written to sockets leaves at the end of the turn', async (t) => {
  const log: string[] = []
  const one = sink('one', log)
  const other = sink('other', log)
  writeTogether(one)
  one.write('a')
  writeTogether(other)
  other.write('b')
  writeTogether(one)
  one.write('c')
  t.strictSame(log, [])
  await turn()
  t.strictSame(log, ['other b', 'one ac'])
  t.equal(one.writableCorked, 0)
  one.write('d')
  t.strictSame(log.at(-1), 'one d', 'and later writes at once')
})

t.test('Those that have something to write do so before the sockets let go', async (t) => {
  const log: string[] = []
  const socket = sink('socket', log)
  writeTogether(socket)
  socket.write('head')
  settleTogether({ settle: () => void socket.write(' end') })
  t.strictSame(log, [])
  await turn()
  t.strictSame(log, ['socket head end'])
  settleTogether({ settle: () => void log.push('ended') })
  await turn()
  t.strictSame(log.at(-1), 'ended')
})

t.test('What they hold back leaves with the rest', async (t) => {
  const log: string[] = []
  const socket = sink('socket', log)
  settleTogether({
    settle: () => {
      writeTogether(socket)
      socket.write('late')
    },
  })
  await turn()
  t.strictSame(log, ['socket late'])
})

t.test('A socket that is gone holds up nobody', async (t) => {
  const log: string[] = []
  const gone = sink('gone', log)
  const other = sink('other', log)
  for (const socket of [gone, other]) {
    writeTogether(socket)
    socket.write('x')
  }
  gone.destroy()
  await turn()
  t.strictSame(log, ['other x'])
})

t.test('What is held back can be written at once', async (t) => {
  const log: string[] = []
  const socket = sink('socket', log)
  writeTogether(socket)
  writeTogether(socket)
  socket.write('x')
  writeNow(socket)
  t.strictSame(log, ['socket x'])
  await turn()
  t.equal(socket.writableCorked, 0)
})
