// An app that knows nothing of Procore's logins: a plain request a minute to an address on its own loopback.
import { setTimeout as sleep } from 'node:timers/promises'

for (;;) {
  const answer = await fetch(`${process.env.PROCORE_URL}/rest/v1.0/projects`)
  const body = await answer.text()
  console.log(answer.ok ? `${answer.status}: ${JSON.parse(body).length} projects` : `${answer.status} ${body}`)
  await sleep(60_000)
}
