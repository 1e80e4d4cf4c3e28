// Reads the address of a list: its form, the API's path and query, and the proxy's own parameters.
import { ProxyError } from '../errors.ts'

export const LIST_FORMS = ['csv', 'ndjson', 'json'] as const
export type ListForm = (typeof LIST_FORMS)[number]

/** What a caller asks for. */
export interface ListTarget {
  readonly form: ListForm
  /** The API's raw path. `*` instead of a project id means every project. */
  readonly path: string
  /** The raw `name=value` pairs of the query that go to the API. */
  readonly pairs: readonly string[]
  /** Whether the list is read once for each project. */
  readonly isForEachProject: boolean
  /** The columns of `_columns=`, in that order; undefined if the rows decide. */
  readonly columns: readonly string[] | undefined
  /** Whether `_bom=1` asks for a byte-order mark. */
  readonly bom: boolean
}

const ADDRESS = new RegExp(`^/_proxy/(${LIST_FORMS.join('|')})(/(?:rest|vapid)/[^?#]*)(?:\\?(.*))?$`)
const EACH_PROJECT = /^(\/rest\/v[\d.]+\/(?:companies\/[^/]+\/)?projects\/)\*(?=\/)/

/** Reads `/_proxy/csv/rest/…?…`. Throws `route_unknown` for any other path, `request_invalid` for a broken escape. */
export function readListTarget(url: string): ListTarget {
  const [, form, path, query = ''] = ADDRESS.exec(url) ?? []
  if (form === undefined || path === undefined) {
    const help =
      'Write /_proxy/csv/, /_proxy/ndjson/ or /_proxy/json/ and the path of a list: /_proxy/csv/rest/v1.0/projects.'
    throw new ProxyError('route_unknown', 'No path of the API follows the form of the list.', { help })
  }
  const all = query.split('&').filter((pair) => pair !== '')
  const own = new Map(all.filter(isOwn).map((pair) => [keyIn(pair), valueIn(pair)]))
  const pairs = all.filter((pair) => !isOwn(pair))
  const columns = own.get('_columns')?.split(',')
  return {
    form: form as ListForm,
    path,
    pairs,
    isForEachProject: EACH_PROJECT.test(path) || pairs.some(isEachProject),
    columns: columns?.map((name) => name.trim()).filter((name) => name !== ''),
    bom: own.get('_bom') === '1',
  }
}

/** The same list for one project. */
export function forProject(target: ListTarget, projectId: string): ListTarget {
  const pairs = target.pairs.map((pair) => (isEachProject(pair) ? `project_id=${projectId}` : pair))
  return { ...target, path: target.path.replace(EACH_PROJECT, `$1${projectId}`), pairs }
}

/** The decoded name of a pair of a query. */
export function keyIn(pair: string): string {
  return decode(pair.split('=', 1)[0] as string)
}

/** The decoded value of a pair of a query. */
export function valueIn(pair: string): string {
  const equals = pair.indexOf('=')
  return equals === -1 ? '' : decode(pair.slice(equals + 1))
}

/** The proxy's own parameters begin with `_` and are not sent to the API. */
function isOwn(pair: string): boolean {
  return keyIn(pair).startsWith('_')
}

function isEachProject(pair: string): boolean {
  return keyIn(pair) === 'project_id' && valueIn(pair) === '*'
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (cause) {
    throw new ProxyError('request_invalid', 'The query holds a broken percent escape.', { cause })
  }
}
