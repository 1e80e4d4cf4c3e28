// Finds the recorded requests that are most similar to a missing one, so that the user sees what differs.
import type { RequestMatch } from './recorded-request.ts'

const MOST_NAMED = 3
const MOST_LENGTH = 200

/** What to do about a missing recording, in a sentence or two. */
export function nearest(missing: RequestMatch, recorded: readonly RequestMatch[], company: string): string {
  const record = 'Record it with --record, or start with --replay-else-record.'
  if (recorded.length === 0) return `Nothing is recorded for the company ${company}. ${record}`
  if (recorded.some(({ method, target }) => method === missing.method && target === missing.target)) {
    return `The same request is recorded with another body. ${record}`
  }
  const named = recorded
    .map((match) => ({ match, score: likeness(match, missing) }))
    .sort((a, b) => b.score - a.score)
    .map(({ match }) => `${match.method} ${shortened(match.target)}`)
  return `The nearest recordings are: ${[...new Set(named)].slice(0, MOST_NAMED).join(', ')}. ${record}`
}

/** An equal path counts most, then the length of the common beginning, then the method. */
function likeness(a: RequestMatch, b: RequestMatch): number {
  const isSamePath = pathOf(a.target) === pathOf(b.target)
  return (isSamePath ? 10_000 : 0) + sameStart(a.target, b.target) + (a.method === b.method ? 0.5 : 0)
}

function sameStart(a: string, b: string): number {
  let at = 0
  while (at < a.length && at < b.length && a.charCodeAt(at) === b.charCodeAt(at)) at++
  return at
}

function pathOf(target: string): string {
  return target.split('?', 1)[0] as string
}

function shortened(target: string): string {
  return target.length > MOST_LENGTH ? `${target.slice(0, MOST_LENGTH)}…` : target
}
