// The calls that `demo` makes, and how each is printed.
import type { Client } from 'undici'
import type { FakeProcore } from '../fake/procore.ts'

/** One call, and what it shows. */
export interface DemoCall {
  readonly say: string
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

export const DEMO_CALLS: readonly DemoCall[] = [
  {
    say: 'A plain request, with the company in front of the path',
    method: 'GET',
    path: '/acme/rest/v1.0/me',
  },
  {
    say: 'Paging: the Link header points back at the proxy',
    method: 'GET',
    path: '/acme/rest/v1.0/projects?per_page=2',
  },
  {
    say: 'A whole list as CSV: the proxy reads all pages (docs/lists.md)',
    method: 'GET',
    path: '/acme/_proxy/csv/rest/v1.0/projects?_columns=id,name,city',
  },
  {
    say: 'The company by its header; the same token works for it',
    method: 'GET',
    path: '/rest/v1.0/me',
    headers: { 'Procore-Company-Id': '562949953443325' },
  },
  {
    say: 'A write',
    method: 'POST',
    path: '/acme/rest/v1.0/projects',
    headers: { 'Content-Type': 'application/json' },
    body: '{"project":{"name":"New Town Hall"}}',
  },
  {
    say: 'A write to a read-only company is refused here',
    method: 'DELETE',
    path: '/globex/rest/v1.0/projects/1',
  },
  {
    say: 'Two companies in one request: the proxy does not guess which is meant',
    method: 'GET',
    path: '/acme/rest/v1.0/companies/562949953443325/projects',
  },
  { say: "Procore's own refusals pass through", method: 'GET', path: '/initech/rest/v1.0/projects' },
]

/** Makes the call, and says what was sent, what Procore received and what came back. */
export async function showCall(fake: FakeProcore, client: Client, call: DemoCall): Promise<string> {
  fake.journal.clear()
  const { statusCode, headers, body } = await client.request({
    path: call.path,
    method: call.method,
    ...(call.headers && { headers: call.headers }),
    ...(call.body !== undefined && { body: call.body }),
  })
  const text = await body.text()
  const lines = [`── ${call.say}`]
  lines.push(`   you       ${call.method} ${call.path}${headerText(call.headers)}`)
  const arrived = fake.journal.api()
  for (const { method, url, headers: sent } of arrived) {
    const bearer = sent['authorization']?.startsWith('Bearer ') ? 'Bearer …' : '(none)'
    lines.push(
      `   Procore   ${method} ${url}  Authorization: ${bearer}  Procore-Company-Id: ${sent['procore-company-id']}`,
    )
  }
  if (arrived.length === 0) lines.push('   Procore   (nothing arrived)')
  lines.push(`   answer    ${statusCode} ${shorten(text)}`)
  const { link } = headers
  if (typeof link === 'string') lines.push(`             Link: ${shorten(link)}`)
  if (headers['procore-proxy-error'] !== undefined) {
    lines.push(`             Procore-Proxy-Error: ${headers['procore-proxy-error']}`)
  }
  return `${lines.join('\n')}\n`
}

function headerText(headers: Record<string, string> | undefined): string {
  return Object.entries(headers ?? {})
    .map(([name, value]) => `  ${name}: ${value}`)
    .join('')
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > 140 ? `${line.slice(0, 140)}…` : line
}
