// Twin of src/network/bounded-body.ts
import { Readable } from 'node:stream'
import t from 'tap'
import { readBounded } from '../../src/network/bounded-body.ts'

t.test('a body is read whole, up to the limit', async (t) => {
  const pieces = () => Readable.from([Buffer.from('ab'), Buffer.from('c')])
  t.equal(String(await readBounded(pieces(), 3)), 'abc')
  t.equal(await readBounded(pieces(), 2), undefined)
  t.equal((await readBounded(Readable.from([]), 0))?.length, 0)
})

t.test('one that never ends is given up', async (t) => {
  let given = 0
  const endless = new Readable({
    read() {
      given++
      this.push(Buffer.alloc(1024))
    },
  })
  t.equal(await readBounded(endless, 10 * 1024), undefined)
  t.ok(endless.destroyed)
  t.ok(given < 100, `${given} pieces`)
})
