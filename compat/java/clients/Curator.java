// Curator's framework and recipes against a ZooKeeper server: java Curator HOST:PORT. Prints a line a check.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorOp;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Stat;

final class Curator {
    private static String address;
    private static CuratorFramework client;

    private static CuratorFramework connect() throws Exception {
        CuratorFramework made =
                CuratorFrameworkFactory.builder()
                        .connectString(address)
                        .sessionTimeoutMs(30_000)
                        .connectionTimeoutMs(15_000)
                        .retryPolicy(new RetryNTimes(300, 100))
                        .ensembleTracker(true)
                        .build();
        made.start();
        Checks.that(made.blockUntilConnected(Checks.SECONDS, TimeUnit.SECONDS), "connects");
        return made;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(UTF_8);
    }

    private static void basics() throws Exception {
        Checks.equal("/basics/a", client.create().creatingParentsIfNeeded().forPath("/basics/a", bytes("1")));
        Stat stat = new Stat();
        Checks.equal("1", new String(client.getData().storingStatIn(stat).forPath("/basics/a"), UTF_8));
        client.setData().withVersion(stat.getVersion()).forPath("/basics/a", bytes("2"));
        try {
            client.setData().withVersion(stat.getVersion()).forPath("/basics/a", bytes("3"));
            throw new AssertionError("an old version was taken");
        } catch (KeeperException.BadVersionException expected) {
            Checks.equal("/basics/a", expected.getPath());
        }
        String name = client.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/basics/p-");
        Checks.that(name.matches("/basics/_c_[-0-9a-f]+-p-\\d{10}"), name);
        Stat made = new Stat();
        client.create().storingStatIn(made).forPath("/basics/b", bytes("with its stat"));
        Checks.equal(13, made.getDataLength());
        client.create().orSetData().forPath("/basics/b", bytes("set"));
        CountDownLatch done = new CountDownLatch(100);
        for (int each = 0; each < 100; each++) {
            client.create().inBackground((inner, event) -> {
                if (event.getResultCode() == 0) {
                    done.countDown();
                }
            }).forPath("/basics/background-" + each);
        }
        Checks.that(done.await(Checks.SECONDS, TimeUnit.SECONDS), "creates in the background");
        Checks.equal(103, client.getZookeeperClient().getZooKeeper().getAllChildrenNumber("/basics"));
        client.delete().guaranteed().deletingChildrenIfNeeded().forPath("/basics");
        Checks.that(client.checkExists().forPath("/basics") == null, "it is deleted");
    }

    private static void transactions() throws Exception {
        client.create().forPath("/tx");
        List<CuratorTransactionResult> results =
                client.transaction().forOperations(
                        client.transactionOp().create().forPath("/tx/a", bytes("1")),
                        client.transactionOp().setData().forPath("/tx/a", bytes("2")),
                        client.transactionOp().check().withVersion(1).forPath("/tx/a"),
                        client.transactionOp().create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath("/tx/s-"),
                        client.transactionOp().delete().forPath("/tx/a"));
        Checks.equal(5, results.size());
        Checks.equal("/tx/s-0000000001", results.get(3).getResultPath());
        CuratorOp made = client.transactionOp().create().forPath("/tx/b");
        CuratorOp fails = client.transactionOp().check().withVersion(7).forPath("/tx/b");
        try {
            client.transaction().forOperations(made, fails, client.transactionOp().delete().forPath("/tx/b"));
            throw new AssertionError("a transaction with a wrong version was taken");
        } catch (KeeperException.BadVersionException expected) {
            List<Integer> codes = new ArrayList<>();
            expected.getResults().forEach(result -> codes.add(((org.apache.zookeeper.OpResult.ErrorResult) result).getErr()));
            Checks.equal(List.of(0, -103, -2), codes);
        }
        Checks.that(client.checkExists().forPath("/tx/b") == null, "nothing of it is left");
    }

    private static void accessControl() throws Exception {
        try (CuratorFramework owner = CuratorFrameworkFactory.builder().connectString(address).authorization("digest", bytes("user:secret")).retryPolicy(new RetryNTimes(10, 100)).build()) {
            owner.start();
            owner.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath("/mine", bytes("1"));
            try {
                client.getData().forPath("/mine");
                throw new AssertionError("a stranger reads it");
            } catch (KeeperException.NoAuthException expected) {
                Checks.equal("/mine", expected.getPath());
            }
            Checks.equal("1", new String(owner.getData().forPath("/mine"), UTF_8));
            List<String> schemes = new ArrayList<>();
            for (ClientInfo info : owner.getZookeeperClient().getZooKeeper().whoAmI()) {
                schemes.add(info.getAuthScheme());
            }
            Checks.equal(List.of("ip", "digest"), schemes);
        }
    }

    private static void containersAndTtl() throws Exception {
        client.create().creatingParentContainersIfNeeded().forPath("/container/deep/child");
        Checks.equal(0L, client.checkExists().forPath("/container/deep").getEphemeralOwner());
        client.delete().forPath("/container/deep/child");
        Checks.eventually("empty containers are swept", () -> client.checkExists().forPath("/container") == null);
        client.create().withTtl(2_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/short", bytes("x"));
        String path = client.create().withTtl(600_000).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath("/long-");
        Checks.eventually("its time is over", () -> client.checkExists().forPath("/short") == null);
        Checks.that(client.checkExists().forPath(path) != null, "this one's is not");
    }

    private static void locks() throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger rounds = new AtomicInteger();
        List<CuratorFramework> clients = List.of(connect(), connect(), connect());
        ExecutorService threads = Executors.newFixedThreadPool(9);
        List<Future<?>> all = new ArrayList<>();
        for (int each = 0; each < 9; each++) {
            InterProcessMutex mutex = new InterProcessMutex(clients.get(each % 3), "/lock");
            all.add(threads.submit(() -> {
                for (int round = 0; round < 10; round++) {
                    Checks.that(mutex.acquire(Checks.SECONDS, TimeUnit.SECONDS), "the lock is acquired");
                    Checks.equal(1, inside.incrementAndGet());
                    rounds.incrementAndGet();
                    inside.decrementAndGet();
                    mutex.release();
                }
                return null;
            }));
        }
        for (Future<?> each : all) {
            each.get(Checks.SECONDS, TimeUnit.SECONDS);
        }
        threads.shutdown();
        Checks.equal(90, rounds.get());
        InterProcessReadWriteLock first = new InterProcessReadWriteLock(clients.get(0), "/read-write");
        InterProcessReadWriteLock second = new InterProcessReadWriteLock(clients.get(1), "/read-write");
        first.readLock().acquire();
        Checks.that(second.readLock().acquire(Checks.SECONDS, TimeUnit.SECONDS), "two readers");
        Checks.that(!new InterProcessReadWriteLock(clients.get(2), "/read-write").writeLock().acquire(200, TimeUnit.MILLISECONDS), "no writer beside readers");
        first.readLock().release();
        second.readLock().release();
        Checks.that(second.writeLock().acquire(Checks.SECONDS, TimeUnit.SECONDS), "a writer after them");
        second.writeLock().release();
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(clients.get(0), "/semaphore", 2);
        Lease one = semaphore.acquire();
        Lease two = semaphore.acquire();
        Checks.that(semaphore.acquire(200, TimeUnit.MILLISECONDS) == null, "no third lease of two");
        semaphore.returnLease(one);
        semaphore.returnLease(two);
        // A lock dies with its owner's session.
        InterProcessMutex held = new InterProcessMutex(clients.get(0), "/dies");
        held.acquire();
        clients.get(0).close();
        Checks.that(new InterProcessMutex(clients.get(1), "/dies").acquire(Checks.SECONDS, TimeUnit.SECONDS), "the lock of a closed session");
        clients.get(1).close();
        clients.get(2).close();
    }

    private static void leaders() throws Exception {
        List<CuratorFramework> clients = new ArrayList<>(List.of(connect(), connect(), connect()));
        List<LeaderLatch> latches = new ArrayList<>();
        for (CuratorFramework each : clients) {
            LeaderLatch latch = new LeaderLatch(each, "/latch", "latch " + latches.size());
            latch.start();
            latches.add(latch);
        }
        for (int left = 3; left > 0; left--) {
            Checks.eventually("one leads", () -> latches.stream().anyMatch(LeaderLatch::hasLeadership));
            List<LeaderLatch> leading = latches.stream().filter(LeaderLatch::hasLeadership).toList();
            Checks.equal(1, leading.size());
            Checks.equal(leading.get(0).getId(), latches.get(0).getLeader().getId());
            latches.remove(leading.get(0));
            leading.get(0).close();
        }
        AtomicInteger turns = new AtomicInteger();
        List<LeaderSelector> selectors = new ArrayList<>();
        for (CuratorFramework each : clients) {
            LeaderSelector selector = new LeaderSelector(each, "/selector", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework framework) {
                    turns.incrementAndGet();
                }
            });
            selector.start();
            selectors.add(selector);
        }
        Checks.eventually("each leads in its turn", () -> turns.get() == 3);
        selectors.forEach(LeaderSelector::close);
        clients.forEach(CuratorFramework::close);
    }

    private static void caches() throws Exception {
        client.create().creatingParentsIfNeeded().forPath("/cache/a", bytes("1"));
        LinkedBlockingQueue<String> events = new LinkedBlockingQueue<>();
        CuratorCache cache = CuratorCache.build(client, "/cache");
        CountDownLatch initialized = new CountDownLatch(1);
        cache.listenable().addListener(CuratorCacheListener.builder()
                .forCreates(node -> events.add("created " + node.getPath()))
                .forChanges((old, node) -> events.add("changed " + node.getPath() + " " + new String(node.getData(), UTF_8)))
                .forDeletes(node -> events.add("deleted " + node.getPath()))
                .forInitialized(initialized::countDown)
                .build());
        cache.start();
        Checks.that(initialized.await(Checks.SECONDS, TimeUnit.SECONDS), "the cache is initialized");
        events.clear();
        client.create().creatingParentsIfNeeded().forPath("/cache/b/c");
        client.setData().forPath("/cache/a", bytes("2"));
        client.delete().deletingChildrenIfNeeded().forPath("/cache/b");
        // What happens to one znode is told in order; a create may be followed by a change that says the same.
        Map<String, List<String>> told = new ConcurrentHashMap<>();
        Checks.eventually("events of the cache", () -> {
            for (String event = events.poll(); event != null; event = events.poll()) {
                String[] words = event.split(" ", 2);
                told.computeIfAbsent(words[1].split(" ")[0], path -> new ArrayList<>()).add(words[0]);
            }
            return told.getOrDefault("/cache/b", List.of()).contains("deleted")
                    && told.getOrDefault("/cache/b/c", List.of()).contains("deleted")
                    && told.getOrDefault("/cache/a", List.of()).contains("changed");
        });
        Checks.equal(2L, cache.stream().count());
        PathChildrenCache children = new PathChildrenCache(client, "/cache", true);
        children.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
        TreeCache tree = TreeCache.newBuilder(client, "/cache").build().start();
        PersistentWatcher watcher = new PersistentWatcher(client, "/cache", true);
        LinkedBlockingQueue<String> watched = new LinkedBlockingQueue<>();
        watcher.getListenable().addListener(event -> watched.add(event.getType() + " " + event.getPath()));
        CountDownLatch reset = new CountDownLatch(1);
        watcher.getResetListenable().addListener(reset::countDown);
        watcher.start();
        Checks.that(reset.await(Checks.SECONDS, TimeUnit.SECONDS), "the persistent watch is set");
        // A restart: every cache catches up with what happened just before and after it.
        client.create().forPath("/cache/before");
        Checks.restart();
        client.create().forPath("/cache/after", bytes("x"));
        for (String path : List.of("/cache/before", "/cache/after")) {
            Checks.eventually(path + " in the cache", () -> cache.get(path).isPresent());
            Checks.eventually(path + " among the children", () -> children.getCurrentData(path) != null);
            Checks.eventually(path + " in the tree", () -> tree.getCurrentData(path) != null);
            Checks.eventually(path + " was told", () -> watched.contains("NodeCreated " + path));
        }
        cache.close();
        children.close();
        tree.close();
        watcher.close();
    }

    private static void watches() throws Exception {
        client.create().forPath("/watched");
        LinkedBlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();
        Watcher watcher = events::add;
        client.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher(watcher).forPath("/watched");
        client.setData().forPath("/watched", bytes("1"));
        Checks.equal(Watcher.Event.EventType.NodeDataChanged, events.poll(Checks.SECONDS, TimeUnit.SECONDS).getType());
        client.create().forPath("/watched/child");
        Checks.equal(Watcher.Event.EventType.NodeChildrenChanged, events.poll(Checks.SECONDS, TimeUnit.SECONDS).getType());
        client.watchers().remove(watcher).ofType(Watcher.WatcherType.Any).forPath("/watched");
        Checks.equal(Watcher.Event.EventType.PersistentWatchRemoved, events.poll(Checks.SECONDS, TimeUnit.SECONDS).getType());
        client.delete().deletingChildrenIfNeeded().forPath("/watched");
        try {
            client.watchers().remove(watcher).ofType(Watcher.WatcherType.Any).forPath("/watched");
            throw new AssertionError("a watch was removed twice");
        } catch (KeeperException.NoWatcherException expected) {
            Checks.that(events.isEmpty(), "no event after the removal");
        }
    }

    private static void nodesAndCounters() throws Exception {
        CuratorFramework other = connect();
        PersistentNode node = new PersistentNode(client, CreateMode.EPHEMERAL, false, "/node", bytes("here"));
        node.start();
        Checks.that(node.waitForInitialCreate(Checks.SECONDS, TimeUnit.SECONDS), "it is made");
        other.delete().forPath("/node");
        Checks.eventually("it comes again", () -> other.checkExists().forPath("/node") != null);
        node.close();
        GroupMember one = new GroupMember(client, "/group", "one");
        GroupMember two = new GroupMember(other, "/group", "two");
        one.start();
        two.start();
        Checks.eventually("two members", () -> one.getCurrentMembers().size() == 2);
        two.close();
        Checks.eventually("one member", () -> one.getCurrentMembers().size() == 1);
        one.close();
        List<Thread> threads = new ArrayList<>();
        for (CuratorFramework each : List.of(client, other)) {
            DistributedAtomicLong counter = new DistributedAtomicLong(each, "/counter", new RetryNTimes(1000, 1));
            Thread thread = new Thread(() -> {
                try {
                    for (int round = 0; round < 50; round++) {
                        AtomicValue<Long> value = counter.increment();
                        Checks.that(value.succeeded(), "an increment");
                    }
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread each : threads) {
            each.join();
        }
        Checks.equal(100L, new DistributedAtomicLong(client, "/counter", new RetryNTimes(3, 10)).get().postValue());
        SharedCount mine = new SharedCount(client, "/shared", 1);
        SharedCount theirs = new SharedCount(other, "/shared", 1);
        mine.start();
        theirs.start();
        mine.setCount(5);
        Checks.eventually("the count is shared", () -> theirs.getCount() == 5);
        mine.close();
        theirs.close();
        DistributedDoubleBarrier barrier = new DistributedDoubleBarrier(client, "/barrier", 2);
        DistributedDoubleBarrier second = new DistributedDoubleBarrier(other, "/barrier", 2);
        Thread enters = new Thread(() -> {
            try {
                second.enter();
                second.leave();
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        });
        enters.start();
        Checks.that(barrier.enter(Checks.SECONDS, TimeUnit.SECONDS), "both enter");
        Checks.that(barrier.leave(Checks.SECONDS, TimeUnit.SECONDS), "both leave");
        enters.join();
        SimpleDistributedQueue queue = new SimpleDistributedQueue(client, "/queue");
        SimpleDistributedQueue reader = new SimpleDistributedQueue(other, "/queue");
        for (int each = 0; each < 20; each++) {
            queue.offer(bytes("item " + each));
        }
        for (int each = 0; each < 20; each++) {
            Checks.equal("item " + each, new String(reader.poll(Checks.SECONDS, TimeUnit.SECONDS), UTF_8));
        }
        other.close();
    }

    private static void discovery() throws Exception {
        ServiceInstance<Void> instance = ServiceInstance.<Void>builder().name("web").address("127.0.0.1").port(80).id("first").build();
        ServiceDiscovery<Void> discovery = ServiceDiscoveryBuilder.builder(Void.class).client(client).basePath("/services").thisInstance(instance).build();
        discovery.start();
        CuratorFramework other = connect();
        ServiceDiscovery<Void> looking = ServiceDiscoveryBuilder.builder(Void.class).client(other).basePath("/services").build();
        looking.start();
        Checks.equal(80, looking.queryForInstances("web").iterator().next().getPort());
        ServiceCache<Void> cache = looking.serviceCacheBuilder().name("web").build();
        cache.start();
        Checks.equal(1, cache.getInstances().size());
        discovery.unregisterService(instance);
        Checks.eventually("it is unregistered", () -> cache.getInstances().isEmpty());
        cache.close();
        looking.close();
        discovery.close();
        other.close();
    }

    /** A restart within the session's time: the same session, its lock and its ephemeral; nobody is told of a loss. */
    private static void restart() throws Exception {
        LinkedBlockingQueue<ConnectionState> states = new LinkedBlockingQueue<>();
        try (CuratorFramework other = connect()) {
            other.getConnectionStateListenable().addListener((framework, state) -> states.add(state));
            long session = other.getZookeeperClient().getZooKeeper().getSessionId();
            InterProcessMutex mutex = new InterProcessMutex(other, "/over-a-restart");
            mutex.acquire();
            other.create().withMode(CreateMode.EPHEMERAL).forPath("/ephemeral", bytes("x"));
            Checks.restart();
            Checks.eventually("it reconnects", () -> states.contains(ConnectionState.RECONNECTED));
            Checks.that(!states.contains(ConnectionState.LOST), "the session lives");
            Checks.equal(session, other.getZookeeperClient().getZooKeeper().getSessionId());
            Checks.equal(session, client.checkExists().forPath("/ephemeral").getEphemeralOwner());
            Checks.equal(List.of("/ephemeral"), other.getZookeeperClient().getZooKeeper().getEphemerals("/eph"));
            Checks.that(mutex.isAcquiredInThisProcess(), "the lock is held");
            mutex.release();
        }
        Checks.eventually("a closed session's ephemerals go", () -> client.checkExists().forPath("/ephemeral") == null);
    }

    /** It follows /zookeeper/config, where a server without an ensemble has nothing to say. */
    private static void ensembleTracker() throws Exception {
        Checks.equal(0, client.getConfig().forEnsemble().length);
        Checks.equal(address, client.getZookeeperClient().getCurrentConnectionString());
    }

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        client = connect();
        Checks.check("basics", Curator::basics);
        Checks.check("transactions", Curator::transactions);
        Checks.check("access-control", Curator::accessControl);
        Checks.check("locks", Curator::locks);
        Checks.check("leaders", Curator::leaders);
        Checks.check("watches", Curator::watches);
        Checks.check("nodes-and-counters", Curator::nodesAndCounters);
        Checks.check("discovery", Curator::discovery);
        Checks.check("ensemble-tracker", Curator::ensembleTracker);
        Checks.check("containers-and-ttl", Curator::containersAndTtl);
        Checks.check("caches-over-a-restart", Curator::caches);
        Checks.check("session-over-a-restart", Curator::restart);
        client.close();
        System.exit(0);
    }
}
