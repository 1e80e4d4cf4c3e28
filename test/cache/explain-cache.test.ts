// Covers src/cache/explain-cache.ts
import t from 'tap'
import { explainCache } from '../../src/cache/explain-cache.ts'
import type { CacheSettings } from '../../src/config/config.ts'
import { callOf } from '../fixtures/calls.ts'

const OFF: CacheSettings = { coalesce: false, keep: [], refusalsMs: 0, sizeBytes: 64_000_000 }
const PROJECTS = '/rest/v1.0/projects'

t.test('it says what the cache would do', async (t) => {
  const keep = [{ patterns: [PROJECTS], forMs: 60_000, whenExhaustedMs: 0 }]
  const longer = [{ patterns: [PROJECTS], forMs: 1_500, whenExhaustedMs: 600_000 }]
  const all = { ...OFF, coalesce: true, keep: longer, refusalsMs: 30_000 }
  const cases: readonly [CacheSettings, ReturnType<typeof callOf>, string | undefined][] = [
    [OFF, callOf(PROJECTS), undefined],
    [{ ...OFF, keep }, callOf('/rest/v1.0/me'), undefined],
    [{ ...OFF, keep }, callOf(`${PROJECTS}?page=2`), 'A response is given again for 60 s.'],
    [
      all,
      callOf(PROJECTS),
      'A response is given again for 1.5 s, and up to 600 s old while the rate budget is used up. A 403 or 404 is given again for 30 s. Equal requests under way at the same time go to Procore once.',
    ],
    [all, callOf(PROJECTS, { method: 'HEAD' }), 'Not used for this request.'],
    [all, callOf(PROJECTS, { headers: ['Range', 'bytes=0-'] }), 'Not used for this request.'],
    [
      all,
      callOf(PROJECTS, { method: 'POST' }),
      'If it succeeds, everything kept of this company is dropped.',
    ],
  ]
  for (const [settings, call, wanted] of cases) t.equal(explainCache(settings, call), wanted)
})
