// Runs the bundled program until it has answered a request and shown a page, and keeps the code that V8 made of it for the next start.
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs')
const { createServer, get } = require('node:http')
const { tmpdir } = require('node:os')
const { join } = require('node:path')
const v8 = require('node:v8')
const { path, run, scripts } = require('../../dist/bin/procore-proxy.cjs')

// The code fits the flags under which it was made, and the program starts under Node's own.
v8.setFlagsFromString = () => {}

const GIVE_UP_MS = 20_000
/** A call of the API; and what probes and scrapers ask for. */
const PATHS = ['/rest/v1.0/me', '/_proxy/health/ready', '/_proxy/status', '/_proxy/metrics']
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
procore.listen(0, '127.0.0.1', () => free.listen(0, '127.0.0.1', () => free.close(start)))
let port = 0
free.on('listening', () => {
  port = free.address().port
})

function start() {
  const url = `http://127.0.0.1:${procore.address().port}`
  const warm = {
    listen: `127.0.0.1:${port}`,
    environment: 'warm',
    environments: { warm: { apiUrl: url, loginUrl: url } },
    companies: { warm: { id: '1', serviceAccount: { clientId: 'warm', clientSecret: 'warm' } } },
  }
  // JSON is YAML.
  writeFileSync(config, JSON.stringify(warm), { mode: 0o600 })
  process.argv = [process.argv[0], path('program.cjs'), 'start', '--config', config]
  run('program')
  const deadline = Date.now() + GIVE_UP_MS
  const ask = ([path, ...others]) => {
    const again = (why) => {
      if (Date.now() < deadline) return setTimeout(ask, 20, [path, ...others])
      console.error(`the bundled program did not answer ${path}: ${why}`)
      process.exit(1)
    }
    get({ host: '127.0.0.1', port, path, agent: false }, (answer) => {
      answer.resume()
      answer.on('end', () => {
        if (answer.statusCode !== 200) again(answer.statusCode)
        else if (others.length > 0) ask(others)
        else keep()
      })
    }).on('error', (error) => again(error.message))
  }
  ask(PATHS)
}

function keep() {
  for (const [name, script] of scripts) writeFileSync(path(`${name}.v8`), script.createCachedData())
  process.exit(0)
}
