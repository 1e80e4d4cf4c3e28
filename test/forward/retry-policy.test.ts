// Covers src/forward/retry-policy.ts: tables of what is sent again, and when
import t from 'tap'
import { headerValue } from '../../src/forward/call.ts'
import { resetInMs, wholeNumber } from '../../src/forward/rate-windows.ts'
import { askedWaitMs, mayRetry, retryDelayMs } from '../../src/forward/retry-policy.ts'

const NOW = Date.UTC(2026, 0, 1, 12)
const SECONDS = NOW / 1000
const date = (ms: number) => new Date(ms).toUTCString()

t.test('What failed before an answer is sent again only where that can do nothing twice', async (t) => {
  // Refused: no connection came about. Reset: it broke after bytes were sent. Slow: no connection, or no answer, in time.
  const failures = {
    refused: { sent: false, timedOut: false, connection: true },
    reset: { sent: true, timedOut: false, connection: true },
    'slow to connect': { sent: false, timedOut: true, connection: false },
    'slow to answer': { sent: true, timedOut: true, connection: false },
    'bad certificate': { sent: false, timedOut: false, connection: false },
    'no HTTP': { sent: true, timedOut: false, connection: false },
  }
  const again: Record<string, string[]> = {
    GET: ['refused', 'reset', 'slow to connect'],
    HEAD: ['refused', 'reset', 'slow to connect'],
    OPTIONS: ['refused', 'reset', 'slow to connect'],
    PUT: ['refused', 'reset', 'slow to connect'],
    DELETE: ['refused', 'reset', 'slow to connect'],
    POST: ['refused'],
    PATCH: ['refused'],
    get: ['refused'],
  }
  for (const [method, expected] of Object.entries(again)) {
    const found = Object.entries(failures).filter(([, failure]) => mayRetry({ method, ...failure }))
    t.strictSame(
      found.map(([name]) => name),
      expected,
      method,
    )
  }
})

t.test('Delays double up to two seconds, with jitter over their upper half', async (t) => {
  t.strictSame(
    [1, 2, 3, 4, 5, 6, 7, 50].map((nth) =>
      [retryDelayMs(nth, 0), retryDelayMs(nth, 0.999_999)].map(Math.round),
    ),
    [
      [50, 100],
      [100, 200],
      [200, 400],
      [400, 800],
      [800, 1600],
      [1000, 2000],
      [1000, 2000],
      [1000, 2000],
    ],
  )
})

t.test('How long an answer asks to be left alone', async (t) => {
  const table: [string, number, Record<string, string | string[]>, number | undefined][] = [
    ['seconds', 429, { 'retry-after': '5' }, 5_000],
    ['seconds, 503', 503, { 'retry-after': '5' }, 5_000],
    ['zero', 429, { 'retry-after': '0' }, 0],
    [
      'a date, by the answer’s own clock',
      429,
      { date: date(NOW - 60_000), 'retry-after': date(NOW - 50_000) },
      10_000,
    ],
    ['a date, 503, by ours', 503, { 'retry-after': date(NOW + 7_000) }, 7_000],
    ['a date that is past', 429, { 'retry-after': date(NOW - 7_000) }, 0],
    ['the first of two', 429, { 'retry-after': ['3', '9'] }, 3_000],
    ['Retry-After before Reset', 429, { 'retry-after': '2', 'x-rate-limit-reset': `${SECONDS + 9}` }, 2_000],
    ['Reset', 429, { 'x-rate-limit-reset': `${SECONDS + 9}` }, 9_000],
    [
      'Reset where Retry-After is garbage',
      429,
      { 'retry-after': 'soon', 'x-rate-limit-reset': `${SECONDS + 9}` },
      9_000,
    ],
    [
      'Reset by the answer’s clock',
      429,
      { date: date(NOW + 5_000), 'x-rate-limit-reset': `${SECONDS + 9}` },
      4_000,
    ],
    ['Reset in the past', 429, { 'x-rate-limit-reset': `${SECONDS - 9}` }, 0],
    ['Reset in milliseconds', 429, { 'x-rate-limit-reset': `${NOW}` }, undefined],
    ['503 has no Reset', 503, { 'x-rate-limit-reset': `${SECONDS + 9}` }, undefined],
    ['nothing', 429, {}, undefined],
    ['nothing, 503', 503, {}, undefined],
    ['empty', 503, { 'retry-after': ' ' }, undefined],
    ['negative', 503, { 'retry-after': '-1' }, undefined],
    ['other statuses are answers', 500, { 'retry-after': '5' }, undefined],
    ['a redirect', 301, { 'retry-after': '5' }, undefined],
  ]
  for (const [what, status, headers, ms] of table) t.equal(askedWaitMs(status, headers, NOW), ms, what)
})

t.test('Reset is read as whole seconds since 1970, near enough to be one', async (t) => {
  for (const [reset, ms] of [
    [`${SECONDS + 3600}`, 3_600_000],
    [` ${SECONDS + 1} `, 1_000],
    [`${SECONDS}`, 0],
    ['0', 0],
    [`${SECONDS + 7201}`, undefined],
    ['10s', undefined],
  ] as const) {
    t.equal(resetInMs({ 'x-rate-limit-reset': reset }, NOW), ms, reset)
  }
  t.equal(resetInMs({}, NOW), undefined)
})

t.test('Numbers and fields', async (t) => {
  for (const [text, value] of [
    ['0', 0],
    ['25', 25],
    ['007', 7],
    ['-1', undefined],
    ['1.5', undefined],
    ['1e3', undefined],
    ['', undefined],
    ['1234567890123456', undefined],
    [undefined, undefined],
  ] as const) {
    t.equal(wholeNumber(text), value, String(text))
  }
  t.equal(headerValue({ a: ['1', '2'] }, 'a'), '1')
  t.equal(headerValue({ a: '1' }, 'a'), '1')
  t.equal(headerValue({ a: [] }, 'a'), undefined)
  t.equal(headerValue({}, 'a'), undefined)
})
