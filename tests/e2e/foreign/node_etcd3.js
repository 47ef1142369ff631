// What a program with the client `etcd3` of Node sees: prints one line for each thing it learns. Arguments: the port;
// and of a guarded cluster the files of the CA, the certificate and its key, a user and a password.
'use strict';
const { Etcd3 } = require('etcd3');

const fs = require('fs');

const [port, ca, cert, key, username, password] = process.argv.slice(2);
const guards = ca && {
  credentials: {
    rootCertificate: fs.readFileSync(ca),
    certChain: fs.readFileSync(cert),
    privateKey: fs.readFileSync(key),
  },
  auth: { username, password },
};
const client = new Etcd3({ hosts: `${ca ? 'https' : 'http'}://127.0.0.1:${port}`, ...guards });
let begin;
const show = (what, ...rest) => console.log(what, JSON.stringify(rest));
const refused = async (what, work) => {
  try {
    await work();
    show(what, 'no error');
  } catch (error) {
    show(what, error.constructor.name, String(error.message));
  }
};

async function keys() {
  begin = (await client.put('a').value('1')).header.revision;
  show('put', begin);
  show('previous', (await client.put('a').value('2').getPrevious()).value.toString());
  for (let n = 0; n < 5; n++) await client.put(`dir/${n}`).value(String(9 - n));
  show('get', await client.get('a').string(), await client.get('missing').string(), await client.get('a').number());
  show('serializable', await client.get('a').serializable(true).string());
  show('all', await client.getAll().prefix('dir/').strings());
  show('sorted', await client.getAll().prefix('dir/').sort('Value', 'Descend').limit(2).keys());
  show('count', await client.getAll().prefix('dir/').count());
  show('range', await client.getAll().inRange({ start: 'dir/1', end: 'dir/3' }).keys());
  show('at revision', await client.get('a').revision(begin).string());
  show('exists', await client.get('a').exists(), await client.get('missing').exists());
  show('delete', (await client.delete().key('a')).deleted, (await client.delete().prefix('dir/')).deleted);
  await refused('empty key', () => client.put('').value('x'));
  await refused('future', () => client.get('a').revision(100000).string());
}

async function transactions() {
  await client.put('t').value('x');
  for (let n = 0; n < 2; n++) {
    const done = await client
      .if('t', 'Value', '==', 'x')
      .and('t', 'Version', '>', 0)
      .then(client.put('t').value('y'), client.get('t'))
      .else(client.get('t'), client.delete().key('t'))
      .commit();
    show('txn', done.succeeded, done.responses.map((r) => Object.keys(r).filter((k) => k !== 'response')));
  }
  await client.put('stm').value('0');
  await Promise.all(
    [1, 2, 3].map(() =>
      client.stm({ retries: 20 }).transact(async (tx) => {
        await tx.put('stm').value(String((await tx.get('stm').number()) + 1));
      }),
    ),
  );
  show('stm', await client.get('stm').string());
}

async function leases() {
  const lease = client.lease(30);
  const id = await lease.grant();
  await lease.put('leased').value('1');
  await lease.keepaliveOnce();
  const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  show('lease', left.grantedTTL, left.keys.map(String));
  await lease.revoke();
  show('revoked', await client.get('leased').string());
  await refused('no such lease', () => client.put('leased').value('1').lease('12345'));
}

async function watches() {
  const seen = [];
  const watcher = await client.watch().prefix('w/').withPreviousKV().create();
  const enough = new Promise((done) => {
    const note = (type) => (kv, before) => {
      seen.push([type, kv.key.toString(), kv.value.toString(), kv.mod_revision, before ? before.value.toString() : null]);
      if (seen.length === 4) done();
    };
    watcher.on('put', note('put'));
    watcher.on('delete', note('delete'));
  });
  await client.put('w/1').value('a');
  await client.put('w/1').value('b');
  await client.put('other').value('x');
  await client.delete().key('w/1');
  await client.put('w/2').value('c');
  await enough;
  show('watch', seen);
  await watcher.cancel();
  const past = await client.watch().key('w/1').startRevision(begin).create();
  const first = await new Promise((done) => past.once('put', (kv) => done(kv.value.toString())));
  show('watch from the past', first);
  await past.cancel();
}

async function locks() {
  const lock = client.lock('lock');
  await lock.acquire();
  await refused('locked', () => client.lock('lock').acquire());
  await lock.release();
  show('lock', await client.lock('lock').do(async () => 'held'));
  const election = client.election('president');
  const campaign = election.campaign('one');
  await new Promise((done, fail) => {
    campaign.on('elected', done);
    campaign.on('error', fail);
  });
  show('leader', await election.leader());
  await campaign.resign();
  show('no leader', (await election.leader()) || null);
}

async function cluster() {
  const revision = Number((await client.put('c').value('1')).header.revision);
  await client.kv.compact({ revision: String(revision), physical: true });
  await refused('compacted', () => client.get('c').revision(1).string());
  const status = await client.maintenance.status();
  show('status', status.leader !== '0', Number(status.dbSize) > 0);
  show('members', (await client.cluster.memberList({})).members.length);
}

(async () => {
  for (const part of [keys, transactions, leases, watches, locks, cluster]) await part();
  client.close();
  process.exit(0);
})().catch((error) => {
  console.log('failed', error.stack);
  process.exit(1);
});
