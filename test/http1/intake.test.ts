// Twin of src/http1/intake.ts: memory that is used again must never show in a piece that somebody still holds.
import t, { type Test } from 'tap'
import type { Intake as AnIntake } from '../../src/http1/intake.ts'

/** The module anew: what it has lent is counted for the whole process. */
const fresh = (t: Test) =>
  t.mockImport<typeof import('../../src/http1/intake.ts')>('../../src/http1/intake.ts', {})

/** One read of so many bytes, all of one character, as Node does it; gives the memory that they landed in. */
function read(intake: AnIntake, bytes: number, character: string): Buffer {
  const memory = intake.onread.buffer()
  memory.fill(character, 0, bytes)
  t.equal(intake.onread.callback(bytes, memory), true)
  return memory
}

/** Keeps what is read; more of it is said to come. */
function keeping(Intake: typeof AnIntake, more = true) {
  const intake = new Intake()
  const kept: Buffer[] = []
  intake.attach((bytes) => {
    kept.push(intake.keep(bytes))
    return more
  })
  return { intake, kept }
}

const LARGE = 40 * 1024
const allOf = (piece: Buffer | undefined, character: string) =>
  piece !== undefined && piece.length > 0 && piece.equals(Buffer.alloc(piece.length, character))

t.test('small reads of all connections land in one place; what is kept of them is a copy', async (t) => {
  const { Intake } = await fresh(t)
  const one = keeping(Intake)
  const two = keeping(Intake)
  t.notOk(one.intake.isUsed)
  const landed = read(one.intake, 100, 'a')
  t.ok(one.intake.isUsed)
  t.equal(read(two.intake, 100, 'b'), landed)
  t.ok(allOf(one.kept[0], 'a'))
  t.ok(allOf(two.kept[0], 'b'))
})

t.test('a large read makes the next ones land in a buffer of the connection’s own', async (t) => {
  const { Intake } = await fresh(t)
  const { intake, kept } = keeping(Intake)
  const shared = read(intake, LARGE, 'a')
  const lent = read(intake, LARGE, 'b')
  t.not(lent, shared)
  t.equal(kept[1]?.buffer, lent.buffer, 'no copy is made')
  const next = read(intake, LARGE, 'c')
  t.not(next, lent, 'not while a piece is out')
  t.ok(allOf(kept[0], 'a') && allOf(kept[1], 'b') && allOf(kept[2], 'c'))
})

t.test('it is used again when every piece of it is back, and not before', async (t) => {
  const { giveBack, Intake } = await fresh(t)
  const intake = new Intake()
  const kept: Buffer[] = []
  intake.attach((bytes) => {
    kept.push(intake.keep(bytes.subarray(0, 20_000)), intake.keep(bytes.subarray(20_000)))
    return true
  })
  read(intake, LARGE, 'a')
  const lent = read(intake, LARGE, 'b')
  giveBack(kept[2] as Buffer)
  const others = [read(intake, LARGE, 'c'), read(intake, LARGE, 'd')]
  t.notOk(others.includes(lent), 'a piece is still out')
  t.ok(allOf(kept[3], 'b'))
  giveBack(kept[3] as Buffer)
  const after = Array.from({ length: 10 }, () => read(intake, LARGE, 'e'))
  t.equal(after.filter((each) => each === lent).length, 1, 'lent once, and out again')
  for (const [at, character] of [...'aabbccdd'].entries()) {
    // The two that were given back are anybody's.
    if (character !== 'b') t.ok(allOf(kept[at], character), `${at}`)
  }
})

t.test('memory that was never lent is not taken', async (t) => {
  const { giveBack, Intake } = await fresh(t)
  const foreign = Buffer.alloc(LARGE, 'f')
  giveBack(foreign)
  const { intake, kept } = keeping(Intake)
  const landed = Array.from({ length: 20 }, () => read(intake, LARGE, 'g'))
  t.notOk(landed.some(({ buffer }) => buffer === foreign.buffer))
  // The first was copied out of what all connections share.
  giveBack(kept[0] as Buffer)
  t.not(read(intake, LARGE, 'h').buffer, kept[0]?.buffer)
  t.ok(allOf(kept[0], 'g'))
})

t.test('a short read, or the end of an answer, leads back to the shared place', async (t) => {
  const { Intake } = await fresh(t)
  const { intake } = keeping(Intake)
  const shared = read(intake, LARGE, 'a')
  t.not(read(intake, 100, 'b'), shared)
  t.equal(read(intake, LARGE, 'c'), shared)
  const ending = keeping(Intake, false)
  read(ending.intake, LARGE, 'd')
  t.equal(read(ending.intake, LARGE, 'e'), shared)
})

t.test('what nobody reads is not kept', async (t) => {
  const { Intake } = await fresh(t)
  const intake = new Intake()
  const shared = read(intake, LARGE, 'a')
  t.equal(read(intake, LARGE, 'b'), shared)
})

t.test('a read within a read ends its own loan only', async (t) => {
  const { Intake } = await fresh(t)
  const intake = new Intake()
  const kept: Buffer[] = []
  const shared = intake.onread.buffer()
  let isNested = false
  intake.attach((bytes) => {
    // TLS can come to read while something is written: here, within the large read; nothing of it is kept.
    if (isNested) return true
    isNested = kept.length === 1
    if (isNested) intake.onread.callback(10, shared)
    isNested = false
    kept.push(intake.keep(bytes))
    return true
  })
  read(intake, LARGE, 'a')
  const lent = read(intake, LARGE, 'b')
  const after = Array.from({ length: 20 }, () => read(intake, LARGE, 'c'))
  t.notOk(after.includes(lent), 'what was kept of the outer one is still out')
  t.ok(allOf(kept[1], 'b'))
})

t.test('only so much is lent at once; the rest is copied', async (t) => {
  const { giveBack, Intake } = await fresh(t)
  const { intake, kept } = keeping(Intake)
  const shared = read(intake, LARGE, 'a')
  const landed = Array.from({ length: 20 }, () => read(intake, LARGE, 'b'))
  t.equal(new Set(landed).size, 17)
  t.equal(landed.filter((memory) => memory === shared).length, 4)
  t.ok(kept.slice(1).every((piece) => allOf(piece, 'b')))
  for (const piece of kept) giveBack(piece)
  const again = Array.from({ length: 6 }, () => read(intake, LARGE, 'c'))
  t.ok(
    again.slice(0, 4).every((memory) => memory !== shared && landed.includes(memory)),
    'some are kept',
  )
})
