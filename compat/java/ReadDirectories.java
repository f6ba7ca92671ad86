// Loads data directories with Apache ZooKeeper's own classes, and prints a line for each: its path, the
// last zxid in hexadecimal, how many znodes there are, and the digest of the tree; or why it does not load.

import java.io.File;
import java.util.ArrayList;
import org.apache.zookeeper.server.ZKDatabase;
import org.apache.zookeeper.server.persistence.FileTxnSnapLog;

public class ReadDirectories {
    public static void main(String[] directories) {
        for (String directory : directories) {
            System.out.println(directory + "\t" + read(new File(directory)));
        }
    }

    private static String read(File directory) {
        try {
            FileTxnSnapLog files = new FileTxnSnapLog(directory, directory);
            ZKDatabase database = new ZKDatabase(files);
            long zxid = database.loadDataBase();
            // As a server does after loading.
            for (long session : new ArrayList<>(database.getSessions())) {
                if (database.getSessionWithTimeOuts().get(session) == null) {
                    database.killSession(session, zxid);
                }
            }
            // The root is counted twice.
            int nodes = database.getDataTree().getNodeCount() - 1;
            String digest = Long.toUnsignedString(database.getDataTree().getTreeDigest());
            files.close();
            return Long.toHexString(zxid) + "\t" + nodes + "\t" + digest;
        } catch (Exception error) {
            return "error\t" + error;
        }
    }
}
