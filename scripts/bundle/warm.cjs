// Runs the bundled program until it has answered a request, and keeps the code that V8 made of it for the next start.
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs')
const { createServer, get } = require('node:http')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const v8 = require('node:v8')
const { load, CODE, PROGRAM } = require('../../dist/bin/procore-proxy.cjs')

// The code fits the flags under which it was made, and the program starts under Node's own.
v8.setFlagsFromString = () => {}

const GIVE_UP_MS = 20_000
const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-'))
const config = join(folder, 'procore-proxy.yaml')
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

const procore = createServer((request, response) => {
  request.resume()
  response.setHeader('content-type', 'application/json')
  response.end(
    request.url === '/oauth/token' ? '{"access_token":"warm","token_type":"Bearer","expires_in":5400}' : '[]',
  )
})
const free = createServer()
procore.listen(0, '127.0.0.1', () => free.listen(0, '127.0.0.1', () => free.close(run)))
let port = 0
free.on('listening', () => {
  port = free.address().port
})

function run() {
  const url = `http://127.0.0.1:${procore.address().port}`
  const warm = {
    listen: `127.0.0.1:${port}`,
    environment: 'warm',
    environments: { warm: { apiUrl: url, loginUrl: url } },
    companies: { warm: { id: '1', serviceAccount: { clientId: 'warm', clientSecret: 'warm' } } },
  }
  // JSON is YAML.
  writeFileSync(config, JSON.stringify(warm), { mode: 0o600 })
  process.argv = [process.argv[0], PROGRAM, 'start', '--config', config]
  const script = load()
  script.runInThisContext()(require, PROGRAM)
  const deadline = Date.now() + GIVE_UP_MS
  const attempt = () => {
    const again = (why) => {
      if (Date.now() < deadline) return setTimeout(attempt, 20)
      console.error(`the bundled program did not answer: ${why}`)
      process.exit(1)
    }
    get({ host: '127.0.0.1', port, path: '/rest/v1.0/me', agent: false }, (answer) => {
      answer.resume()
      answer.on('end', () => {
        if (answer.statusCode !== 200) return again(answer.statusCode)
        writeFileSync(CODE, script.createCachedData())
        process.exit(0)
      })
    }).on('error', (error) => again(error.message))
  }
  attempt()
}
