// Finds the Procore projects that a request names, in every reading of its path and query.
import { type Parameter, queriesOf, queryValues, readingsOf, segmentsAfter } from '../routing/raw-request.ts'

/**
 * Keys that end in `project_id` or `project_ids` in some spelling, including nested ones: `project_id[]`,
 * `Project-ID`, `projectId`, `filters[project_ids][]`; and `project` alone, as in `projects[]` and `filters[project]`.
 */
const PROJECT_ID: Parameter = {
  name: 'project_id',
  hint: /project/i,
  key: /(?:^|[^a-z0-9])projects?(?:[-_. ]?ids?(?:$|[^a-z0-9])|\]?\[ids?(?:$|[^a-z0-9])|\]?(?:\[[0-9]*\])?$)/i,
}

/**
 * Of these, the keys with which Procore's endpoints select a project. The others are filters, which an endpoint may
 * ignore.
 */
const OWN_PROJECT_ID: Parameter = { name: 'project_id', hint: /project_id/, key: /^project_id(?:\[\])?$/ }

/** The projects that a request names. */
export interface NamedProjects {
  /** Every id that any reading finds, as text. A segment that is not an id is included unchanged. */
  readonly ids: readonly string[]
  /** Whether the request selects these projects. A nested filter alone may be ignored by the endpoint. */
  readonly isConfined: boolean
}

/**
 * Finds the projects that a path (`/projects/ID/`) and a query (`project_id`) name. `path` is raw, without a company
 * prefix; `query` is raw, with its `?`. Undefined if the path cannot be judged. Throws `request_invalid` for a key or
 * value that cannot be decoded.
 */
export function namedProjects(path: string, query: string): NamedProjects | undefined {
  const readings = readingsOf(path)
  if (readings === undefined) return undefined
  const inPath = segmentsAfter(readings, 'projects').map((segment) => segment.replace(/\.[a-z0-9]+$/, ''))
  const inQuery = queriesOf(path, query).flatMap((each) => queryValues(each, PROJECT_ID))
  const isAsked = inPath.length > 0 || queryValues(query, OWN_PROJECT_ID).length > 0
  // Some endpoints accept several ids, separated by commas.
  return { ids: [...inPath, ...inQuery.flatMap((value) => value.split(','))], isConfined: isAsked }
}

/**
 * Whether the caller may use a project. Ids are compared as text. If `projects` is undefined, every project is
 * allowed.
 */
export function mayUseProject(projects: readonly string[] | undefined, id: string): boolean {
  return projects?.includes(id) ?? true
}
