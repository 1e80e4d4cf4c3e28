// Covers src/network/pieces.ts.
import t from 'tap'
import { Pieces } from '../../src/network/pieces.ts'

function readAll(pieces: Pieces): Buffer[] {
  const parts: Buffer[] = []
  for (let part = pieces.read(); part !== undefined; part = pieces.read()) parts.push(part)
  return parts
}

/** Bytes that differ from their neighbours, so that a wrong order shows. */
function bytesFrom(start: number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, at) => (start + at) % 251))
}

t.test('many small pieces are few blocks', async (t) => {
  const pieces = new Pieces()
  const all = bytesFrom(0, 100_000)
  for (const at of all.keys()) pieces.add(all.subarray(at, at + 1))
  const parts = readAll(pieces)
  t.ok(parts.length < 50, `${parts.length} parts`)
  t.ok(Buffer.concat(parts).equals(all))
  t.ok(pieces.whole().equals(all))
})

t.test('pieces of any size are read in order, each as soon as it is there', async (t) => {
  for (const isForgotten of [false, true]) {
    const pieces = new Pieces()
    const read: Buffer[] = []
    let length = 0
    for (const [at, size] of [1, 5000, 3, 3, 0, 4095, 4096, 2, 70_000, 1, 1, 9].entries()) {
      pieces.add(bytesFrom(length, size))
      length += size
      if (at % 3 === 2) continue
      read.push(...readAll(pieces))
      t.equal(Buffer.concat(read).length, length)
      if (isForgotten) pieces.forgetRead()
    }
    read.push(...readAll(pieces))
    t.equal(pieces.read(), undefined)
    t.match(pieces, { length, unread: 0 })
    t.ok(Buffer.concat(read).equals(bytesFrom(0, length)))
    if (!isForgotten) t.ok(pieces.whole().equals(bytesFrom(0, length)))
  }
})

t.test('what has been read is forgotten', async (t) => {
  const pieces = new Pieces()
  for (const start of [0, 7]) pieces.add(bytesFrom(start, 5000))
  readAll(pieces)
  pieces.forgetRead()
  t.ok(pieces.whole().subarray(0, 5000).equals(bytesFrom(7, 5000)), 'only the last block is there')
})

t.test('a large piece is not copied, and what is read stays as it is', async (t) => {
  const pieces = new Pieces()
  const large = bytesFrom(0, 5000)
  pieces.add(large)
  t.equal(pieces.read()?.buffer, large.buffer)
  pieces.add(Buffer.from('ab'))
  const small = pieces.read()
  pieces.add(Buffer.from('cd'))
  t.equal(String(small), 'ab')
})

t.test('the whole is in memory of its own, and the same until more is added', async (t) => {
  const pieces = new Pieces()
  t.equal(pieces.whole().length, 0)
  for (const text of ['one ', 'two ', 'three']) pieces.add(Buffer.from(text))
  t.equal(String(pieces.read()), 'one ')
  const whole = pieces.whole()
  t.equal(String(whole), 'one two three')
  t.equal(whole.buffer.byteLength, 13)
  t.equal(pieces.whole(), whole)
  t.equal(pieces.read()?.buffer, whole.buffer, 'the rest is a part of it')
  pieces.add(Buffer.from(' four'))
  t.equal(String(pieces.read()), ' four')
  t.equal(String(pieces.whole()), 'one two three four')
})
