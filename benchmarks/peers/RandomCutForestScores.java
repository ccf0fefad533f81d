import com.amazon.randomcutforest.config.TransformMethod;
import com.amazon.randomcutforest.parkservices.AnomalyDescriptor;
import com.amazon.randomcutforest.parkservices.ThresholdedRandomCutForest;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Scores of AWS's thresholded random cut forest, the detector inside OpenSearch, on series of a CSV file.
 *
 * <pre>java RandomCutForestScores IN.csv OUT.csv</pre>
 *
 * IN has a line {@code series,time in s,value} for each sample, the samples of a series together and in order. OUT has
 * {@code score,grade} for each line of IN; on standard output come the CPU seconds and the bytes of heap of a forest.
 * Settings are those of OpenSearch's anomaly detection: shingles of 8, 30 trees of 256 points, time decay 0.0001.
 */
public final class RandomCutForestScores {
    private static final int SHINGLE = 8;
    private static final int TREES = 30;
    private static final int POINTS = 256;
    private static final double DECAY = 0.0001;
    private static final long SEED = 42;
    private static final int FORESTS_MEASURED = 50;

    private RandomCutForestScores() {}

    private static ThresholdedRandomCutForest forest() {
        return ThresholdedRandomCutForest.builder()
                .dimensions(SHINGLE)
                .shingleSize(SHINGLE)
                .numberOfTrees(TREES)
                .sampleSize(POINTS)
                .timeDecay(DECAY)
                .internalShinglingEnabled(true)
                .parallelExecutionEnabled(false)
                .transformMethod(TransformMethod.NORMALIZE)
                .randomSeed(SEED)
                .build();
    }

    public static void main(String[] arguments) throws IOException {
        List<double[]> first = new ArrayList<>();
        long began = cpu();
        try (BufferedReader in = Files.newBufferedReader(Path.of(arguments[0]), StandardCharsets.UTF_8);
                PrintWriter out =
                        new PrintWriter(Files.newBufferedWriter(Path.of(arguments[1]), StandardCharsets.UTF_8))) {
            String series = null;
            ThresholdedRandomCutForest forest = null;
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                String[] cells = line.split(",");
                if (!cells[0].equals(series)) {
                    series = cells[0];
                    forest = forest();
                }
                double[] value = {Double.parseDouble(cells[2])};
                AnomalyDescriptor verdict = forest.process(value, Long.parseLong(cells[1]));
                out.println(verdict.getRCFScore() + "," + verdict.getAnomalyGrade());
                if (first.size() < 4 * POINTS) {
                    first.add(value);
                }
            }
        }
        double seconds = (cpu() - began) / 1e9;
        System.out.println(seconds + "," + bytes(first));
    }

    private static long cpu() {
        return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
    }

    /** Bytes of heap of one forest that has seen these values, as a mean over many. */
    private static long bytes(List<double[]> values) {
        List<ThresholdedRandomCutForest> kept = new ArrayList<>();
        long before = used();
        for (int number = 0; number < FORESTS_MEASURED; number++) {
            ThresholdedRandomCutForest forest = forest();
            for (int at = 0; at < values.size(); at++) {
                forest.process(values.get(at), 60L * at);
            }
            kept.add(forest);
        }
        long bytes = (used() - before) / kept.size();
        if (kept.get(0).getForest().getTotalUpdates() == 0) {
            throw new IllegalStateException("the forest learned nothing");
        }
        return bytes;
    }

    private static long used() {
        Runtime runtime = Runtime.getRuntime();
        for (int round = 0; round < 4; round++) {
            System.gc();
        }
        return runtime.totalMemory() - runtime.freeMemory();
    }
}
