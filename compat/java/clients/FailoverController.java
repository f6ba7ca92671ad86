// Two failover controllers as Hadoop's ActiveStandbyElector uses ZooKeeper: java FailoverController HOST:PORT.
// An ephemeral lock node, exists watches on it, a persistent "bread crumb" that says whom to fence, all through
// ZooKeeper's own client, asynchronously, with ACLs and retries on a lost connection. Prints a line a check.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;
import org.apache.zookeeper.server.auth.DigestAuthenticationProvider;

final class FailoverController implements Watcher, AsyncCallback.StringCallback, AsyncCallback.StatCallback {
    private static final String PARENT = "/hadoop-ha/cluster";
    private static final String LOCK = PARENT + "/ActiveStandbyElectorLock";
    private static final String CRUMB = PARENT + "/ActiveBreadCrumb";
    private static final int TIMEOUT_MS = 20_000;

    private final String name;
    private final List<ACL> acl;
    private final ZooKeeper zk;
    private final CountDownLatch connected = new CountDownLatch(1);
    private volatile String state = "new";
    private volatile String fenced;
    private volatile boolean lost;

    FailoverController(String address, String name) throws Exception {
        this.name = name;
        this.acl = Collections.singletonList(new ACL(ZooDefs.Perms.ALL, new Id("digest", DigestAuthenticationProvider.generateDigest("zkfc:secret"))));
        this.zk = new ZooKeeper(address, TIMEOUT_MS, this);
        Checks.that(connected.await(Checks.SECONDS, TimeUnit.SECONDS), name + " connects");
        zk.addAuthInfo("digest", "zkfc:secret".getBytes(UTF_8));
    }

    void ensureParent() throws Exception {
        String path = "";
        for (String part : PARENT.substring(1).split("/")) {
            path += "/" + part;
            try {
                zk.create(path, new byte[0], acl, CreateMode.PERSISTENT);
            } catch (KeeperException.NodeExistsException there) {
                zk.setACL(path, acl, zk.exists(path, false).getAversion());
            }
        }
    }

    void joinElection() {
        state = "joining";
        zk.create(LOCK, name.getBytes(UTF_8), acl, CreateMode.EPHEMERAL, this, zk);
    }

    /** The answer to the creation of the lock. */
    @Override
    public void processResult(int code, String path, Object context, String made) {
        switch (Code.get(code)) {
            case OK -> becomeActive();
            case NODEEXISTS -> {
                state = "standby";
                zk.exists(LOCK, this, this, zk);
            }
            case CONNECTIONLOSS -> zk.exists(LOCK, this, this, zk);
            default -> state = "failed with " + Code.get(code);
        }
    }

    /** The answer to the look at the lock. */
    @Override
    public void processResult(int code, String path, Object context, Stat stat) {
        switch (Code.get(code)) {
            case OK -> {
                if (stat.getEphemeralOwner() == zk.getSessionId()) {
                    becomeActive();
                } else {
                    state = "standby";
                }
            }
            case NONODE -> joinElection();
            case CONNECTIONLOSS -> zk.exists(LOCK, this, this, zk);
            default -> state = "failed with " + Code.get(code);
        }
    }

    private void becomeActive() {
        if (state.equals("active")) {
            return;
        }
        // Not in the callback's thread: it waits for answers.
        Thread thread = new Thread(() -> {
            try {
                Stat stat = new Stat();
                try {
                    String before = new String(zk.getData(CRUMB, false, stat), UTF_8);
                    if (!before.equals(name)) {
                        fenced = before;
                    }
                    zk.setData(CRUMB, name.getBytes(UTF_8), stat.getVersion());
                } catch (KeeperException.NoNodeException first) {
                    zk.create(CRUMB, name.getBytes(UTF_8), acl, CreateMode.PERSISTENT);
                }
                zk.exists(LOCK, this, this, zk);
                state = "active";
            } catch (Exception error) {
                state = "failed with " + error;
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void process(WatchedEvent event) {
        switch (event.getType()) {
            case None -> {
                switch (event.getState()) {
                    case SyncConnected -> {
                        connected.countDown();
                        if (lost) {
                            lost = false;
                            zk.exists(LOCK, this, this, zk);
                        }
                    }
                    case Disconnected -> lost = true;
                    case Expired -> state = "expired";
                    default -> { }
                }
            }
            case NodeDeleted -> joinElection();
            default -> zk.exists(LOCK, this, this, zk);
        }
    }

    void quit(boolean gracefully) throws Exception {
        if (gracefully) {
            zk.delete(CRUMB, -1);
        }
        state = "closed";
        zk.close();
    }

    public static void main(String[] arguments) throws Exception {
        String address = arguments[0];
        FailoverController one = new FailoverController(address, "one");
        FailoverController two = new FailoverController(address, "two");
        Checks.check("election", () -> {
            one.ensureParent();
            two.ensureParent();
            one.joinElection();
            Checks.eventually("the first is active", () -> one.state.equals("active"));
            two.joinElection();
            Checks.eventually("the second stands by", () -> two.state.equals("standby"));
            Checks.equal("one", new String(two.zk.getData(LOCK, false, null), UTF_8));
        });
        Checks.check("access-control", () -> {
            ZooKeeper stranger = new ZooKeeper(address, TIMEOUT_MS, event -> { });
            try {
                stranger.delete(LOCK, -1);
                throw new AssertionError("a stranger took the lock away");
            } catch (KeeperException.NoAuthException expected) {
                Checks.equal(LOCK, expected.getPath());
            } finally {
                stranger.close();
            }
        });
        Checks.check("nobody-changes-over-a-restart", () -> {
            long session = one.zk.getSessionId();
            Checks.restart();
            // A client that has not noticed yet that its connection is dead learns it by asking.
            for (FailoverController each : List.of(one, two)) {
                Checks.eventually("the lock is still the first one's", () -> {
                    try {
                        return each.zk.exists(LOCK, false).getEphemeralOwner() == session;
                    } catch (KeeperException.ConnectionLossException retried) {
                        return false;
                    }
                });
            }
            Checks.equal("active", one.state);
            Checks.eventually("the second stands by again", () -> two.state.equals("standby"));
        });
        Checks.check("failover-and-fencing", () -> {
            one.quit(false);
            Checks.eventually("the second is active", () -> two.state.equals("active"));
            Checks.equal("one", two.fenced);
            Checks.equal("two", new String(two.zk.getData(CRUMB, false, null), UTF_8));
            FailoverController three = new FailoverController(address, "three");
            three.joinElection();
            Checks.eventually("the third stands by", () -> three.state.equals("standby"));
            two.quit(true);
            Checks.eventually("the third is active", () -> three.state.equals("active"));
            Checks.that(three.fenced == null, "nobody is to be fenced");
            three.quit(true);
        });
        System.exit(0);
    }
}
