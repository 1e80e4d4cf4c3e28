// Covers src/guards/headers.ts
import t from 'tap'
import { judgeLoop, optionsAnswer } from '../../src/guards/headers.ts'

t.test('OPTIONS with Max-Forwards: 0 is answered here, a larger number is one less', async (t) => {
  const answer = optionsAnswer('OPTIONS', ['max-forwards', '0'])
  t.match(answer, { status: 204, headers: ['Allow', /GET.*OPTIONS/] })
  const cases: [value: string, sent: string][] = [
    ['1', '0'],
    ['5', '4'],
    ['007', '6'],
    ['99999999999999999999999', '255'],
  ]
  for (const [value, sent] of cases) {
    t.same(
      optionsAnswer('OPTIONS', ['A', 'b', 'Max-Forwards', value]),
      ['A', 'b', 'Max-Forwards', sent],
      value,
    )
  }
  for (const headers of [
    ['Max-Forwards', '-1'],
    ['Max-Forwards', ''],
    ['Max-Forwards', '1.5'],
    ['Max-Forwards', 'x'],
    ['Max-Forwards', '1, 2'],
    ['Max-Forwards', '1', 'max-forwards', '1'],
  ]) {
    t.throws(() => optionsAnswer('OPTIONS', headers), { code: 'request_invalid' }, headers.join(' '))
  }
  const untouched = ['Max-Forwards', 'x']
  t.equal(optionsAnswer('GET', untouched), untouched)
  const none = ['A', 'b']
  t.equal(optionsAnswer('OPTIONS', none), none)
})

t.test('A request that was here twice goes in a circle', async (t) => {
  for (const via of [
    [],
    ['1.1 procore-proxy'],
    ['1.1 other, 1.1 procore-proxy (x, y), 1.0 another'],
    ['1.1 procore-proxy2, 1.1 my-procore-proxy, 1.1 procore-proxy.example, 1.1 procore-proxy'],
    ['procore-proxy, procore-proxy'],
  ]) {
    t.doesNotThrow(() => judgeLoop(via.flatMap((value) => ['Via', value])), via.join())
  }
  for (const via of [
    ['1.1 procore-proxy, 1.1 procore-proxy'],
    ['1.1 procore-proxy', 'HTTP/1.1 Procore-Proxy (comment)'],
    ['1.1 a,1.1 procore-proxy ,1.1 b, 1.0 procore-proxy(c)'],
  ]) {
    const headers = via.flatMap((value) => ['via', value])
    t.throws(() => judgeLoop(headers), { code: 'loop_detected', status: 508 }, via.join())
  }
})
