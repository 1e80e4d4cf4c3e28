// curl as people use it: forms, ranges, redirects, HEAD, retries. Skipped if it is not installed.
import { execFile, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startRig } from '../fixtures/proxy.ts'

t.jobs = 2
const hasCurl = spawnSync('curl', ['--version']).error === undefined
const curl = (t: Test, ...args: string[]) =>
  new Promise<{ code: number; out: string }>((resolve) => {
    const env = { PATH: process.env['PATH'], HOME: t.testdirName }
    execFile('curl', ['-sS', '--max-time', '20', ...args], { cwd: t.testdirName, env }, (error, out) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out })
    })
  })

t.test('curl', hasCurl ? {} : { skip: 'no curl here' }, async (t) => {
  t.jobs = 2
  t.test('a file by a form, with 100-continue and without; a file as the body', async (t) => {
    const { fake, url } = await startRig(t)
    const bytes = randomBytes(2_000_000)
    writeFileSync(join(t.testdirName, 'plan.pdf'), bytes)
    const form = ['-F', 'upload[name]=plan', '-F', 'upload[data]=@plan.pdf;type=application/pdf']
    for (const expect of [[], ['-H', 'Expect: 100-continue'], ['-H', 'Expect:']]) {
      const { out } = await curl(t, ...form, ...expect, `${url}/acme/rest/v1.0/files`)
      t.ok(JSON.parse(out).bytes > bytes.length, expect.join())
    }
    t.match(fake.journal.api().at(-1)?.headers['content-type'], /^multipart\/form-data; boundary=/)
    const args = ['-H', 'Content-Type: application/pdf', '--data-binary', '@plan.pdf']
    const { out } = await curl(t, ...args, `${url}/acme/rest/v1.0/files`)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    t.match(JSON.parse(out), { bytes: bytes.length, sha256 })
    const stream = ['-T', 'plan.pdf', '-X', 'POST', '-H', 'Transfer-Encoding: chunked']
    const chunked = await curl(t, ...stream, `${url}/acme/rest/v1.0/files`)
    t.match(JSON.parse(chunked.out), { bytes: bytes.length })
  })

  t.test('a range is Procore’s to serve; a download that broke off is an error', async (t) => {
    const { fake, url } = await startRig(t)
    const part = { status: 206, headers: { 'Content-Range': 'bytes 5-9/10' }, body: '56789' }
    fake.faults.api.push({ match: (_, path) => path.includes('bytes=10'), ...part })
    writeFileSync(join(t.testdirName, 'file'), '01234')
    const { code } = await curl(t, '-C', '-', '-o', 'file', `${url}/acme/rest/v1.0/large?bytes=10`)
    t.equal(code, 0)
    t.equal(fake.journal.api().at(-1)?.headers['range'], 'bytes=5-')
    t.equal(readFileSync(join(t.testdirName, 'file'), 'utf8'), '0123456789')
    fake.faults.clear()
    fake.faults.api.push({ reset: 'mid-body' })
    for (const query of ['bytes=100000', 'bytes=100000&chunked=1']) {
      const broken = await curl(t, '-o', '/dev/null', `${url}/acme/rest/v1.0/large?${query}`)
      t.ok([18, 56].includes(broken.code), `curl says so: ${broken.code}`)
    }
  })

  t.test('-L follows redirects to the API by the proxy, and others without it', async (t) => {
    const { fake, url } = await startRig(t)
    const there = { status: 302, headers: { Location: `${fake.apiUrl}/rest/v1.0/me` } }
    fake.faults.api.push({ match: '/rest/v1.0/old', ...there })
    const followed = await curl(t, '-L', '-w', '\n%{url_effective}', `${url}/acme/rest/v1.0/old`)
    t.match(followed.out, /"Demo Service Account".*\n/)
    t.match(followed.out, new RegExp(`\n${url}/acme/rest/v1.0/me$`))
    const write = ['-w', '\n%{http_code} %{url_effective}']
    const pdf = await curl(t, '-L', ...write, `${url}/acme/rest/v1.0/rfis/7.pdf`)
    t.match(pdf.out, `\n200 ${fake.storageUrl}/`)
    t.notOk(fake.journal.storage().some(({ headers }) => headers['authorization']))
    const { out } = await curl(t, '-D', '-', '-o', '/dev/null', `${url}/acme/rest/v1.0/projects?per_page=40`)
    const next = /<([^>]+)>; rel="next"/.exec(out)?.[1] ?? ''
    t.equal(JSON.parse((await curl(t, next)).out).length, 5, 'the next page by Link')
  })

  t.test('HEAD, compression, DELETE, --fail and --retry', async (t) => {
    const { fake, url } = await startRig(t)
    const head = await curl(t, '-I', `${url}/acme/rest/v1.0/projects`)
    t.match(head.out, /^HTTP\/1\.1 200 OK\r\n/)
    t.match(head.out, /^total: 45\r$/im)
    t.equal((await curl(t, '--compressed', '--http1.0', `${url}/acme/rest/v1.0/me`)).code, 0)
    const status = ['-o', '/dev/null', '-w', '%{http_code}']
    const removed = await curl(t, '-X', 'DELETE', ...status, `${url}/acme/rest/v1.0/projects/1000001`)
    t.equal(removed.out, '204')
    t.equal((await curl(t, '--fail', `${url}/acme/rest/v1.0/nothing`)).code, 22)
    fake.faults.api.push({ match: '/rest/v1.0/me', status: 500, times: 1 })
    const { out } = await curl(t, '--retry', '2', '--retry-delay', '1', '--fail', `${url}/acme/rest/v1.0/me`)
    t.match(JSON.parse(out), { name: 'Demo Service Account' })
  })

  t.test('over a unix socket, and by a name of the company', async (t) => {
    const { url, port } = await startRig(t)
    t.match(JSON.parse((await curl(t, `http://acme.localhost:${port}/rest/v1.0/me`)).out), { id: 160586 })
    const wrong = await curl(t, '-H', 'Host: evil.example', `${url}/acme/rest/v1.0/me`)
    t.match(JSON.parse(wrong.out), { code: 'host_not_allowed' })
  })
})
