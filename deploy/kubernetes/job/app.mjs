// An app that knows nothing of Procore's logins: one plain request to an address on its own loopback.
const answer = await fetch(`${process.env.PROCORE_URL}/rest/v1.0/projects`)
const body = await answer.text()
if (!answer.ok) throw new Error(`${answer.status} ${body}`)
console.log(`${answer.status}: ${JSON.parse(body).length} projects`)
