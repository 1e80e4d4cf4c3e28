// The calls that `demo` makes, and how each is printed.
import type { FakeProcore } from '../fake/procore.ts'

/** What each call shows, its method and path, and what else it sends. */
export const DEMO_CALLS: readonly [say: string, line: string, more?: RequestInit][] = [
  ['A plain request, with the company in front of the path', 'GET /acme/rest/v1.0/me'],
  ['Paging: the Link header points back at the proxy', 'GET /acme/rest/v1.0/projects?per_page=2'],
  [
    'A whole list as CSV: the proxy reads all pages (docs/lists.md)',
    'GET /acme/_proxy/csv/rest/v1.0/projects?_columns=id,name,city',
  ],
  [
    'The company by its header; the same token works for it',
    'GET /rest/v1.0/me',
    { headers: { 'Procore-Company-Id': '562949953443325' } },
  ],
  [
    'A write',
    'POST /acme/rest/v1.0/projects',
    { headers: { 'Content-Type': 'application/json' }, body: '{"project":{"name":"New Town Hall"}}' },
  ],
  ['A write to a read-only company is refused here', 'DELETE /globex/rest/v1.0/projects/1'],
  [
    'Two companies in one request: the proxy does not guess which is meant',
    'GET /acme/rest/v1.0/companies/562949953443325/projects',
  ],
  ["Procore's own refusals pass through", 'GET /initech/rest/v1.0/projects'],
]

/** Makes a call to the proxy at `base`, and says what was sent, what Procore received and what came back. */
export async function showCall(
  { journal }: FakeProcore,
  base: string,
  [say, line, more = {}]: (typeof DEMO_CALLS)[number],
): Promise<string> {
  journal.clear()
  const [method = '', path] = line.split(' ')
  const response = await fetch(base + path, { method, ...more })
  const sent = Object.entries(more.headers ?? {}).map(([name, value]) => `  ${name}: ${value}`)
  const arrived = journal.api().map(({ method, url, headers }) => {
    const bearer = headers['authorization']?.startsWith('Bearer ') ? 'Bearer …' : '(none)'
    return `${method} ${url}  Authorization: ${bearer}  Procore-Company-Id: ${headers['procore-company-id']}`
  })
  const lines = [
    `── ${say}`,
    `   you       ${line}${sent.join('')}`,
    ...(arrived.length > 0 ? arrived : ['(nothing arrived)']).map((text) => `   Procore   ${text}`),
    `   answer    ${response.status} ${shorten(await response.text())}`,
  ]
  for (const name of ['Link', 'Procore-Proxy-Error']) {
    const value = response.headers.get(name)
    if (value !== null) lines.push(`             ${name}: ${shorten(value)}`)
  }
  return `${lines.join('\n')}\n`
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > 140 ? `${line.slice(0, 140)}…` : line
}
