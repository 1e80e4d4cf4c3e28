import t from 'tap'
import { isOnReadOnlyMount, isReadOnlyIn } from '../../src/config/mounts.ts'

const MOUNTS = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /secrets ro,relatime - tmpfs tmpfs rw,size=10k
31 22 0:41 / /data rw - ext4 /dev/sdb1 ro,data=ordered
32 22 0:42 / /with\\040blank ro - tmpfs tmpfs rw
33 22 0:43 / /over ro - tmpfs tmpfs rw
34 22 0:44 / /over rw - tmpfs tmpfs rw
35 30 0:45 / /secrets/inner rw shared:2 master:1 - tmpfs tmpfs rw
`

t.test('a file is on the innermost mount that holds it, of which the last one counts', async (t) => {
  const cases: [string, boolean][] = [
    ['/secrets/a', true],
    ['/secrets', true],
    ['/secretsx/a', false],
    ['/secrets/inner/a', false],
    ['/data/a', true],
    ['/with blank/a', true],
    ['/over/a', false],
    ['/etc/a', false],
  ]
  for (const [path, expected] of cases) t.equal(isReadOnlyIn(MOUNTS, path), expected, path)
  t.equal(isReadOnlyIn('', '/a'), false)
})

t.test('what does not exist is on no read-only mount, nor is a folder of this test', async (t) => {
  t.equal(await isOnReadOnlyMount('/does/not/exist'), false)
  t.equal(await isOnReadOnlyMount(t.testdir()), false)
})
