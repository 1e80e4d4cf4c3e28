// Covers src/guards/callers.ts: keys
import t, { type Test } from 'tap'
import { type Caller, Secret } from '../../src/config/config.ts'
import { ProxyError } from '../../src/errors.ts'
import {
  asksForKeys,
  credentialsIn,
  identifyCaller,
  identifyKey,
  judgeRequiredHeader,
  type KeySettings,
  KeyThrottle,
  WrongKeyError,
} from '../../src/guards/callers.ts'

const caller = (name: string, ...keys: string[]): Caller => ({
  name,
  keys: keys.map((key) => new Secret(key)),
  companies: undefined,
  access: 'read-write',
  rules: [],
  projects: undefined,
  share: undefined,
})
const settings: KeySettings = {
  callers: [caller('excel', 'excel-key-old', 'excel-key-new'), caller('agent', 'agent-key')],
  guard: { clientKeys: [new Secret('office-key'), new Secret('robot-key')] },
}
const open: KeySettings = { guard: { clientKeys: [] } }
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

t.test('A caller is known by its key in any of three places', async (t) => {
  const cases: [headers: string[], name: string | undefined, queueKey: string][] = [
    [['Procore-Proxy-Key', 'excel-key-old'], 'excel', 'excel'],
    [['PROCORE-PROXY-KEY', 'excel-key-new'], 'excel', 'excel'],
    [['Authorization', 'Bearer agent-key'], 'agent', 'agent'],
    [['authorization', 'bearer  agent-key '], 'agent', 'agent'],
    [['Authorization', basic('anyone:agent-key')], 'agent', 'agent'],
    [['Authorization', basic(':agent-key')], 'agent', 'agent'],
    [['Procore-Proxy-Key', 'agent-key', 'Authorization', 'Bearer made-up'], 'agent', 'agent'],
    [['Procore-Proxy-Key', 'agent-key', 'Authorization', 'Bearer agent-key'], 'agent', 'agent'],
    [['Procore-Proxy-Key', 'excel-key-old', 'Authorization', basic('x:excel-key-new')], 'excel', 'excel'],
    [['Procore-Proxy-Key', 'office-key'], undefined, 'key 0'],
    [['Authorization', 'Bearer robot-key'], undefined, 'key 1'],
  ]
  for (const [headers, name, queueKey] of cases) {
    const identity = identifyCaller(settings, headers)
    t.equal(identity.caller?.name, name, headers.join(' '))
    t.equal(identity.queueKey, queueKey)
  }
})

t.test('Without callers and keys, Authorization is not looked at', async (t) => {
  t.notOk(asksForKeys(open))
  t.notOk(asksForKeys({ ...open, callers: [] }))
  t.ok(asksForKeys(settings))
  t.same(identifyCaller(open, ['Authorization', 'Bearer x', 'Authorization', 'y']), {
    caller: undefined,
    queueKey: '',
  })
})

t.test('No key, two keys and wrong keys are refused, and only a wrong one counts as a guess', async (t) => {
  const cases: [headers: string[], isGuess: boolean][] = [
    [[], false],
    [['Authorization', 'Digest agent-key'], false],
    [['Authorization', 'Bearer'], false],
    [['Authorization', 'agent-key'], false],
    [['Authorization', basic('agent-key')], false],
    [['Authorization', basic('agent-key:')], false],
    [['Procore_Proxy_Key', 'agent-key'], false],
    [['Proxy-Authorization', 'Bearer agent-key'], false],
    [['Procore-Proxy-Key', 'agent-key', 'Procore-Proxy-Key', 'agent-key'], false],
    [['Authorization', 'Bearer agent-key', 'Authorization', 'Bearer x'], false],
    [['Procore-Proxy-Key', 'agent-key', 'Authorization', 'Bearer excel-key-old'], false],
    [['Procore-Proxy-Key', 'office-key', 'Authorization', 'Bearer robot-key'], false],
    [['Procore-Proxy-Key', 'office-key', 'Authorization', 'Bearer agent-key'], false],
    [['Procore-Proxy-Key', ''], true],
    [['Procore-Proxy-Key', 'agent-ke'], true],
    [['Procore-Proxy-Key', 'Agent-key'], true],
    [['Procore-Proxy-Key', 'agent-key '], true],
    [['Procore-Proxy-Key', 'agent-key, office-key'], true],
    [['Procore-Proxy-Key', '[secret]'], true],
    [['Procore-Proxy-Key', 'wrong', 'Authorization', 'Bearer agent-key'], true],
    [['Authorization', 'Bearer wrong'], true],
    [['Authorization', basic('agent-key:wrong')], true],
  ]
  for (const [headers, isGuess] of cases) {
    try {
      identifyCaller(settings, headers)
      t.fail(headers.join(' '))
    } catch (error) {
      t.match(error, { code: 'key_required', message: /^(?!.*(?:agent|office|excel|robot|wrong)-?k?)/ })
      t.ok(error instanceof ProxyError)
      t.equal(error instanceof WrongKeyError, isGuess, headers.join(' '))
    }
  }
  const careless = { callers: [caller('x', '')], guard: { clientKeys: [new Secret('')] } }
  for (const headers of [
    ['Procore-Proxy-Key', ''],
    ['Authorization', basic('x:')],
  ]) {
    t.throws(() => identifyCaller(careless, headers), { code: 'key_required' }, 'an empty key opens nothing')
  }
})

t.test('Every configured key is compared, whichever matches', async (t) => {
  let compared = 0
  class Counting extends Secret {
    override equals(other: string): boolean {
      compared++
      return super.equals(other)
    }
  }
  const one = { ...caller('excel'), keys: [new Counting('a'), new Counting('b')] }
  const counted = {
    callers: [one, { ...one, name: 'agent', keys: [new Counting('c')] }],
    guard: { clientKeys: [new Counting('d')] },
  }
  for (const key of ['a', 'd']) {
    compared = 0
    identifyCaller(counted, ['Procore-Proxy-Key', key])
    t.equal(compared, 4)
  }
})

t.test('A required header must be there once and say true', async (t) => {
  const guard = { requireHeader: true }
  t.doesNotThrow(() => judgeRequiredHeader(guard, ['procore-proxy-request', 'true']))
  t.doesNotThrow(() => judgeRequiredHeader({ requireHeader: false }, []))
  for (const values of [[], [''], ['True'], ['1'], ['true, true'], ['true', 'true'], ['true', 'false']]) {
    const headers = values.flatMap((value) => ['Procore-Proxy-Request', value])
    t.throws(() => judgeRequiredHeader(guard, headers), { code: 'header_required' }, JSON.stringify(values))
  }
})

t.test('Whose key a login secret is', async (t) => {
  t.equal(identifyKey(settings, 'agent-key')?.caller?.name, 'agent')
  t.equal(identifyKey(settings, 'office-key')?.queueKey, 'key 0')
  t.equal(identifyKey(settings, 'no'), undefined)
  t.same(credentialsIn('Basic !!!'), [])
})

/** Time that the test moves. */
function stopped(t: Test) {
  const clock = { now: 0 }
  t.intercept(performance, 'now', { value: () => clock.now })
  return clock
}

t.test('After ten wrong keys within a minute, each further one costs a second', async (t) => {
  const clock = stopped(t)
  const guesses = new KeyThrottle()
  for (let i = 0; i < 10; i++) t.equal(guesses.delayMs('10.0.0.1'), 0)
  for (let i = 0; i < 30; i++) {
    clock.now += 1_000
    t.equal(guesses.delayMs('10.0.0.1'), 1_000)
  }
  t.equal(guesses.delayMs('10.0.0.2'), 0, 'another address is another guesser')
  clock.now += 60_000
  t.equal(guesses.delayMs('10.0.0.1'), 0, 'after a minute without one it is forgiven')
})

t.test('Ten wrong keys spread over more than a minute cost nothing', async (t) => {
  const clock = stopped(t)
  const guesses = new KeyThrottle()
  for (let i = 0; i < 50; i++) {
    t.equal(guesses.delayMs('::1'), 0)
    clock.now += 6_100
  }
})

t.test('One subscriber counts once: an IPv4 address in any form, and an IPv6 /64', async (t) => {
  const pairs: [string | undefined, string | undefined, boolean][] = [
    ['::ffff:10.0.0.1', '10.0.0.1', true],
    ['2001:db8::1', '2001:db8::ffff:1', true],
    ['2001:db8:0:0:1::', '2001:db8::2', true],
    ['2001:db8:0:0:1:2:3:4', '2001:db8::2', true],
    ['2001:db8:0:1::1', '2001:db8::1', false],
    ['2001::1:2:3:4:5', '2001::2:2:3:4:5', false],
    [undefined, undefined, true],
  ]
  for (const [one, other, same] of pairs) {
    const guesses = new KeyThrottle()
    for (let i = 0; i < 10; i++) guesses.delayMs(one)
    t.equal(guesses.delayMs(other), same ? 1_000 : 0, `${one} ${other}`)
  }
})

t.test('A thousand addresses are remembered, no more', async (t) => {
  const guesses = new KeyThrottle()
  const guessFromOthers = (count: number) => {
    for (let i = 0; i < count; i++) guesses.delayMs(`10.0.${i >> 8}.${i & 255}`)
  }
  for (let i = 0; i < 10; i++) guesses.delayMs('::1')
  guessFromOthers(999)
  t.equal(guesses.delayMs('::1'), 1_000)
  guessFromOthers(1_000)
  t.equal(guesses.delayMs('::1'), 0)
})
