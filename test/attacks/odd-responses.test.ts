// Attacks by an API or a file host: early hints, lengths and types that are odd but must cost no caller its response.
import t, { type Test } from 'tap'
import { attack, getOf, head, UNLIMITED } from '../fixtures/attacker.ts'
import { type Rig, startRig } from '../fixtures/proxy.ts'
import { startRawUpstream } from '../fixtures/raw-upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'

/** A proxy in front of an API that gives each of these responses where its name ends the path. */
async function rigFor(t: Test, responses: Readonly<Record<string, string>>): Promise<Rig> {
  const { url } = await startRawUpstream(t, ({ target }, socket) => {
    socket.write(responses[target.slice('/rest/'.length)]!.replaceAll('URL', url), 'latin1')
  })
  return startRig(t, {
    fake: UNLIMITED!,
    settings: ({ loginUrl }) => ({ environments: { fake: { apiUrl: url, loginUrl } } }),
  })
}

t.test('Early hints never cost a response, and pass nothing that a response would not', async (t) => {
  const hint = (...lines: string[]) => head('HTTP/1.1 103 Early Hints', ...lines) + OK
  const cases: Record<string, [response: string, links: readonly string[]]> = {
    plain: [hint('Link: </a>; rel=preload')!, ['</acme/a>; rel=preload']],
    own: [hint('Link: <URL/a>; rel="next"'), ['<http://localhost/acme/a>; rel="next"']],
    two: [hint('Link: </a>, </b>; rel=x', 'Link: </c>'), ['</acme/a>, </acme/b>; rel=x', '</acme/c>']],
    nonsense: [hint('Link: nonsense'), ['nonsense']],
    quoted: [hint('Link: </a b>; rel="x y"; title="a b;c"'), ['</acme/a b>; rel="x y"; title="a b;c"']],
    slow: [hint(`Link: </a>${';a=b=c'.repeat(40)}"`), [`</acme/a>${';a=b=c'.repeat(40)}"`]],
    none: [hint('Set-Cookie: a=b'), []],
    dangerous: [hint('Link: </a>', 'Set-Cookie: a=b', 'Procore-Proxy-Error: x'), ['</acme/a>']],
  }
  const responses = Object.fromEntries(Object.entries(cases).map(([name, [response]]) => [name, response]))
  const rig = await rigFor(t, responses)
  for (const [name, [, links]] of Object.entries(cases)) {
    const { verdict, interim } = await attack(
      rig,
      head(`POST /acme/rest/${name} HTTP/1.1`, 'Host: localhost', 'Connection: close', 'Content-Length: 0'),
    )
    t.equal(verdict, '200', name)
    t.same(
      interim.flatMap(({ fields }) => fields.map(([field, value]) => [field.toLowerCase(), value])),
      links.map((link) => ['link', link]),
      name,
    )
  }
})

t.test('A 304 may tell the length of what it stands for; neither it nor a 204 has a body', async (t) => {
  const rig = await rigFor(t, {
    304: head('HTTP/1.1 304 Not Modified', 'ETag: "a"', 'Content-Length: 123'),
    204: head('HTTP/1.1 204 No Content', 'Content-Length: 5'),
  })
  for (const status of ['304', '204']) {
    const { verdict, rest } = await attack(rig, getOf(`/acme/rest/${status}`, 'If-None-Match: "a"'))
    t.same([verdict, rest], [status, ''])
  }
})
