import t from 'tap'
import { checkSharedUrl, sendsPasswordInClear } from '../../src/config/shared-url.ts'

t.test('the URL of Redis has a host, and at most a port, a login and a database', async (t) => {
  for (const url of ['redis://h', 'rediss://h:1/', 'redis://:p@h/2', 'rediss://u:p%40@[::1]:6379/0'])
    t.equal(checkSharedUrl(url), undefined, url)
  const cases: [string, RegExp][] = [
    ['', /is not a redis/],
    ['redis:', /is not a redis/],
    ['redis:///1', /is not a redis/],
    ['http://h:s3cret', /is not a redis/],
    ['localhost:6379', /is not a redis/],
    ['redis://u:s3cret@h/name', /more than a host/],
    ['redis://u:s3cret@h?db=1', /more than a host/],
    ['redis://u:s3cret#x@h', /more than a host|is not a redis/],
  ]
  for (const [url, expected] of cases) {
    const mistake = checkSharedUrl(url)
    t.match(mistake?.message, expected, url)
    t.notMatch(JSON.stringify(mistake), /s3cret/)
  }
})

t.test('a password over a network needs TLS', async (t) => {
  t.equal(sendsPasswordInClear('redis://u:p@redis.test'), true)
  for (const url of [
    'rediss://u:p@redis.test',
    'redis://redis.test',
    'redis://u:p@127.0.0.1',
    'redis://u:p@[::1]:1',
    '',
  ])
    t.equal(sendsPasswordInClear(url), false, url)
})
