<?php
declare(strict_types=1);

/**
 * Whether this text is seen for the first time. Use a table with a unique key in place of the files, in the same
 * transaction as the reaction.
 */
function first(string $text): bool
{
    $directory = __DIR__ . '/seen';
    if (!is_dir($directory)) {
        @mkdir($directory); // another request may make it at the same time
    }
    $path = "$directory/" . hash('sha256', $text);
    $file = @fopen($path, 'x');
    if ($file === false) {
        return file_exists($path) ? false : throw new RuntimeException("cannot write $path");
    }
    fwrite($file, $text);
    fclose($file);
    return true;
}
